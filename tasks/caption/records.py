"""What the caption stage hands on."""

from collections.abc import Sequence

from tasks.common.records import CaptionedImage, Jpeg, Record, Reject


class Caption(Record):
    """What was said of one JPEG, by its content `key`: cleaned `text`, `raw` words, and why it is no use, if so."""

    key: str
    text: str
    raw: str
    reason: str | None = None


def to_rows(jpegs: Sequence[Jpeg], captions: Sequence[Caption]) -> tuple[list[CaptionedImage], list[Reject]]:
    """Join captions, which know only content, with their pictures: each JPEG becomes one of the two."""
    by_key = {caption.key: caption for caption in captions}
    rows, rejects = [], []
    for jpeg in jpegs:
        caption = by_key[jpeg.key]
        if caption.reason is None:
            rows.append(CaptionedImage(jpeg=jpeg, text=caption.text, raw_text=caption.raw))
        else:
            image = jpeg.original.image
            rejects.append(Reject(title=image.title, sha1=image.sha1, stage="caption", reason=caption.reason))
    return rows, rejects

"""Pictures that are there twice."""

from collections.abc import Sequence

from tasks.common.records import Jpeg, Reject


def drop_duplicates(jpegs: Sequence[Jpeg]) -> tuple[list[Jpeg], list[Reject]]:
    """Keep the first of equal pictures in the order of sha1, so that the choice doesn't depend on the wiki's order."""
    first: dict[str, Jpeg] = {}
    rejects = []
    for jpeg in sorted(jpegs, key=lambda jpeg: (jpeg.original.image.sha1, jpeg.original.image.title)):
        kept = first.setdefault(jpeg.pixel_sha256, jpeg)
        if kept is not jpeg:
            image = jpeg.original.image
            reason = f"same pixels as {kept.original.image.title}"
            rejects.append(Reject(title=image.title, sha1=image.sha1, stage="convert", reason=reason))
    return list(first.values()), rejects

"""What the gallery page shows, in terms of its own: whoever measures or draws is not known here."""

from typing import Literal

from tasks.common.fields import Address
from tasks.common.records import Animation, EpochLoss, Record, Reject, Sample


class Credit(Record):
    """One line of attribution; `url` may be empty."""

    text: str
    url: str = ""


class StageRow(Record):
    """What one stage did: `came_in` = `out` + `rejected`; `ran` and `cached` count pieces of work."""

    stage: str
    came_in: int
    out: int
    rejected: int
    ran: int
    cached: int
    seconds: float


class Cost(Record):
    """What a run took: time by stage, `peak_memory` in bytes and `hardware` in words, each only where it is known."""

    stages: tuple[StageRow, ...] = ()
    peak_memory: int | None = None
    hardware: str = ""


class WikiPicture(Record):
    """A drawing of the wiki itself, with its caption ("" if not told) and whose it is; `key` is any picture file."""

    key: str
    title: str
    uploader: str
    license: str
    page_url: Address | Literal[""]
    caption: str = ""


class Dialled(Record):
    """A picture drawn `strength` of the way from the base model to the weights of `epoch`: 0 is the base, 1 the epoch.

    `key` is a lossless PNG.
    """

    prompt: str
    seed: int
    epoch: int
    strength: float
    key: str


class Figure(Record):
    """A measured value and its 90 % interval."""

    value: float
    low: float
    high: float


class MeasureRow(Record):
    """All that was measured of one epoch at one strength; None where it was not.

    `style_distance` is a CMMD × 1000 (less is nearer to the wiki), `style_way` the same as a share of the way
    from the base (0) to the wiki (1), `prompt_agreement` a CLIP score, `composition` a similarity with the base's
    picture, `copies` a share of pictures; the losses have no unit, the PSNR is in dB.
    """

    epoch: int
    strength: float
    style_distance: Figure | None = None
    style_way: Figure | None = None
    prompt_agreement: Figure | None = None
    composition: Figure | None = None
    copies: Figure | None = None
    probe_loss: float | None = None
    heldout_loss: float | None = None
    decoder_psnr: float | None = None


class Anchor(Record):
    """What a measure is read between: the base model's value, and that of the wiki's own held-out drawings."""

    base: float | None = None
    wiki: float | None = None


class Anchors(Record):
    """The anchors of each measure that has any."""

    style_distance: Anchor = Anchor()
    style_way: Anchor = Anchor(base=0, wiki=1)
    prompt_agreement: Anchor = Anchor()
    composition: Anchor = Anchor()
    copies: Anchor = Anchor()


class Recommended(Record):
    """Which epoch at which strength, and why, in words for a person; None where none can be recommended."""

    epoch: int | None
    strength: float | None
    because: str


class Measured(Record):
    """What was measured, in whatever order, and what follows from it."""

    rows: tuple[MeasureRow, ...]
    anchors: Anchors = Anchors()
    recommended: Recommended | None = None


class Nearest(Record):
    """A sample of the recommended epoch, and the trained picture most like it.

    `similarity` has no unit, 1 is the same picture; `copied` when it is nearer than held-out drawings lie.
    """

    sample: Dialled
    trained: WikiPicture
    similarity: float
    copied: bool


class GalleryPage(Record):
    """Everything on the page; the pictures are store keys. `settings_json` is shown as it is.

    `films` are for download, of whatever kinds; what the page itself plays is drawn from `samples` (the training),
    `straight` (the way from the base to one epoch, at least two strengths of each prompt) and `denoising` (one picture
    of `denoising_prompt`, from noise to the end). `dial` is a grid of epochs and strengths of one prompt. `dataset` are
    some of the `dataset_rows` drawings. `base_model` is a name for people, `base_source` where it is. A frame is shown
    for `frame_ms`, the last for `hold_last_ms`.
    """

    title: str
    wiki_name: str
    wiki_url: str
    base_model: str
    samples: tuple[Sample, ...]
    images_trained: int
    films: tuple[Animation, ...] = ()
    straight: tuple[Dialled, ...] = ()
    dial: tuple[Dialled, ...] = ()
    denoising: tuple[str, ...] = ()
    denoising_prompt: str = ""
    frame_ms: int = 400
    hold_last_ms: int = 2000
    losses: tuple[EpochLoss, ...] = ()
    recommended_epoch: int | None = None
    measured: Measured | None = None
    nearest: tuple[Nearest, ...] = ()
    dataset: tuple[WikiPicture, ...] = ()
    dataset_rows: int = 0
    rejects: tuple[Reject, ...] = ()
    cost: Cost = Cost()
    base_source: str = ""
    settings_json: str = "{}"
    credits: tuple[Credit, ...] = ()

"""What the gallery page shows."""

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


class GalleryPage(Record):
    """Everything on the page; the pictures are store keys. `settings_json` is shown as it is.

    `drift` are the films of the training, `dial` those of the straight way, shown in their place where there are any.
    """

    title: str
    wiki_name: str
    wiki_url: str
    base_model: str
    drift: tuple[Animation, ...]
    denoising: Animation | None
    samples: tuple[Sample, ...]
    losses: tuple[EpochLoss, ...]
    recommended_epoch: int | None
    images_trained: int
    stages: tuple[StageRow, ...]
    rejects: tuple[Reject, ...]
    settings_json: str
    credits: tuple[Credit, ...]
    dial: tuple[Animation, ...] = ()

"""What measuring hands on."""

from tasks.common.records import Record


class Figure(Record):
    """A measured value and its 90 % interval."""

    value: float
    low: float
    high: float


class Credit(Record):
    """A picture of the wiki: `key` of its bytes in the store, what it is called and whose it is."""

    key: str
    title: str
    uploader: str
    license: str
    page_url: str


class Reference(Record):
    """What snapshots are measured against: the wiki's held-out and trained pictures, as CLIP and the eye see them.

    `captions`, or titles, are what the models draw of the held-out `subjects` (sha256 of the pictures). `key` is a
    safetensors file in the store: `held_out` [n, d] and `captions` [n, d], embeddings of length 1; `trained`
    [m, 4096], what nearest pictures are found by. Less than 5 % of held-out pictures lie nearer to a trained one
    than `copy_likeness`, and `copy_null` is that share: what a picture that copies nothing does.
    """

    key: str
    subjects: tuple[str, ...]
    captions: tuple[str, ...]
    trained: tuple[Credit, ...]
    copy_likeness: float
    copy_null: float

    def content(self) -> dict[str, object]:
        """What a picture drawn for it depends on; whose the trained pictures are does not count."""
        return {"key": self.key, "subjects": self.subjects, "captions": self.captions}


class DrawnSet(Record):
    """The captions of a Reference drawn by one epoch at one strength (0 is the base, 1 the snapshot).

    `key` is a safetensors file in the store: `embeddings` [n, seeds, d], `thumbnails` [n, seeds, 256] for comparing
    composition, `likeness` and `nearest` [n, seeds]: how near the nearest trained picture lies, and which it is.
    """

    epoch: int
    strength: float
    key: str


class NearestPair(Record):
    """A sample and the trained picture nearest to it; a copy when nearer than held-out pictures are."""

    sample: str
    prompt: str
    seed: int
    epoch: int
    trained: Credit
    likeness: float
    copied: bool


class Measures(Record):
    """All figures of one epoch at one strength; the losses and the PSNR are the snapshot's, None at other strengths.

    `style_way` is the style distance as a share of the way from the base (0) to the wiki (1), on the same subjects and
    noise, which is what makes its interval narrow.
    """

    epoch: int
    strength: float
    style_distance: Figure
    style_way: Figure
    prompt_agreement: Figure
    composition: Figure
    copies: Figure
    heldout_loss: float | None
    probe_loss: float | None
    decoder_psnr: float | None


class Anchors(Record):
    """What the figures are read between: the base's own, and those of the wiki's held-out drawings.

    `style_floor` is the distance between two halves of the held-out drawings; `drawings_agreement` how well these go
    with their captions; `copies_null` the share of held-out pictures as near to a trained one as a copy.
    """

    base_style: Figure
    base_agreement: Figure
    style_floor: Figure
    drawings_agreement: Figure
    copies_null: float
    subjects: int
    pictures: int


class Recommendation(Record):
    """Which epoch at which strength, and why, in words; None where none can be recommended.

    `told_apart` is false where other points are as good as these pictures can tell.
    """

    epoch: int | None
    strength: float | None
    because: str
    told_apart: bool = False


class Measured(Record):
    """What the stage hands on. `nearest` are pairs of the samples of the recommended epoch, the nearest first.

    `reference` is the Reference's key, and `sets` what was drawn for the measures: kept as long as the run is.
    """

    measures: tuple[Measures, ...] = ()
    anchors: Anchors | None = None
    recommendation: Recommendation
    nearest: tuple[NearestPair, ...] = ()
    reference: str | None = None
    sets: tuple[DrawnSet, ...] = ()

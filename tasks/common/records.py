"""What flows between the stages: small frozen records that carry store keys, never image bytes or tensors.

A *key* is the sha256 (64 hex digits) of bytes in the store. Every record is JSON, so any worker can read it.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.common.fields import Address, Bytes, Report, Sha1, Side, Text, Title


class Record(BaseModel):
    """A frozen, closed model: an unknown field is an error, not a silent loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reject(Record):
    """Something set aside: which file (`title`, `sha1`), in which stage, and why, in words for a person."""

    title: Report
    sha1: Sha1 | Literal[""]
    stage: str
    reason: Report


class WikiImage(Record):
    """One file of the wiki as its API describes it. `sha1` is hex, `size` bytes, `width`/`height` px."""

    title: Title
    sha1: Sha1
    url: Address | Literal[""]
    page_url: Address | Literal[""]
    mime: str
    width: Side
    height: Side
    size: Bytes
    timestamp: str
    uploader: Text
    license: Text
    license_evidence: tuple[str, ...] = ()
    aliases: tuple[Title, ...] = ()


class Inventory(Record):
    """The whole wiki at one moment: `listed` files = images + their aliases + rejects."""

    wiki: str
    site_name: str
    rights: str
    listed: int
    images: tuple[WikiImage, ...]
    rejects: tuple[Reject, ...] = ()


class Original(Record):
    """The bytes of a WikiImage, verified against its sha1."""

    image: WikiImage
    key: str


class Jpeg(Record):
    """An original as a baseline RGB JPEG. `pixel_sha256` is the hash of its decoded source pixels (duplicates)."""

    original: Original
    key: str
    width: int
    height: int
    frames: int
    pixel_sha256: str


class CaptionedImage(Record):
    """A JPEG with its caption; `raw_text` is what the model said before clean-up."""

    jpeg: Jpeg
    text: str
    raw_text: str


class StoredFile(Record):
    """A file of a folder kept in the store: its path in the folder, its key and its size in bytes."""

    path: str
    key: str
    bytes: int


class DatasetRef(Record):
    """A dataset: its files in the store, a fingerprint of its rows, and where it was published, if anywhere."""

    fingerprint: str
    rows: int
    files: tuple[StoredFile, ...]
    repo_id: str | None = None
    revision: str | None = None


class Snapshot(Record):
    """The trained weights at one epoch. None for a part means the base model's own.

    `probe_loss` is that of as many trained pictures as are held out, measured as `heldout_loss` is: by how much it is
    lower, the pictures trained on are known better than those never seen. None where an older training didn't note it.
    """

    epoch: int
    step: int
    weights: str
    unet: StoredFile | None
    decoder: StoredFile | None
    train_loss: float | None
    heldout_loss: float | None
    decoder_psnr: float | None
    probe_loss: float | None = None


class Training(Record):
    """All a training left behind: the base model it started from, its snapshots, and its figures.

    `base_model` may be relative to wikistyle's own folder; `base_identity` is its `model_identity`, None where the
    training was kept before that was noted. So is `dataset`, of which a share of `held_out` was not trained on.
    """

    base_model: str
    base_revision: str | None
    dataset_fingerprint: str
    snapshots: tuple[Snapshot, ...]
    losses: tuple["EpochLoss", ...]
    psnr_before: float | None
    psnr_after: float | None
    truncated_captions: int
    images_trained: int
    images_held_out: int
    lpips_before: float | None = None
    lpips_after: float | None = None
    base_identity: str | None = None
    dataset: DatasetRef | str | None = None
    held_out: float | None = None


class EpochLoss(Record):
    """Mean losses of one epoch (MSE of the predicted noise, no unit)."""

    epoch: int
    train_loss: float | None
    heldout_loss: float | None


class Sample(Record):
    """One picture: prompt, seed and snapshot epoch; `key` is a lossless PNG."""

    prompt: str
    seed: int
    epoch: int
    key: str


class Between(Record):
    """One picture drawn from weights on the straight way from the snapshot of epoch `since` to that of `epoch`.

    `strength` is how far, from 0 to 1 (no unit); at the ends it is the snapshots' own sample. `key` is a lossless PNG.
    """

    prompt: str
    seed: int
    since: int
    epoch: int
    strength: float
    key: str


class Animation(Record):
    """One film; `files` are the same frames as GIF, WebP, …, and a still sheet.

    `kind` is "dial" (the straight way from the base model to a snapshot), "training" (all snapshots) or "denoising".
    """

    kind: str
    prompt: str
    frames: int
    files: tuple[StoredFile, ...]

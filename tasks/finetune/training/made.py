"""How far the UNet or the decoder has come and the snapshots made on the way: the JSON in a resume state."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks.common.records import StoredFile


class Made(BaseModel):
    """A snapshot after `step` optimizer steps; no `file` at step 0, whose weights are the base model's own."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    step: int = Field(ge=0)
    file: StoredFile | None

    @field_validator("file")
    @classmethod
    def _has_a_key(cls, file: StoredFile | None) -> StoredFile | None:
        if file and (len(file.key) != 64 or set(file.key) - set("0123456789abcdef")):
            raise ValueError("its key is not 64 hex digits")
        return file


class UnetMade(Made):
    """`train_loss` is the mean of the epoch that ends here, None at step 0; `heldout_loss` None without held-out.

    `probe_loss` is that of trained pictures measured likewise; None also in a state that was kept before it was noted.
    """

    train_loss: float | None
    heldout_loss: float | None
    probe_loss: float | None = None


class DecoderMade(Made):
    """`psnr` in dB of the held-out pictures, None without any."""

    psnr: float | None


S = TypeVar("S", bound=Made)


class Progress(BaseModel, Generic[S]):
    """Steps done, the loss of each, and the snapshots made, sorted by step.

    In fp16 also the steps that the optimizer `skipped`, and the state of the `scaler` of the loss.

    Some may be of steps still to come: an earlier stretch of a training is run again when one of its snapshots is
    missing, and the later ones stay as they are.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    step: int = Field(default=0, ge=0)
    losses: list[float] = []
    skipped: int = Field(default=0, ge=0)
    scaler: dict[str, float | int] | None = None
    snapshots: list[S] = []

    def has(self, step: int) -> bool:
        """Whether the snapshot after this step was made."""
        return any(made.step == step for made in self.snapshots)

    def add(self, made: S) -> None:
        """Put a snapshot in its place."""
        self.snapshots = sorted([*self.snapshots, made], key=lambda one: one.step)


UnetProgress = Progress[UnetMade]
DecoderProgress = Progress[DecoderMade]

"""What a user can set about the films and the gallery."""

from typing import Literal

from pydantic import Field, field_validator

from tasks.common.settings import StageSettings


class AnimateSettings(StageSettings):
    """How the pictures of a training become films."""

    frame_ms: int = Field(
        default=400,
        title="Frame (ms)",
        description="How long each epoch is shown. 400 leaves time to look at four pictures. GIF counts in 10 ms.",
        ge=20,
        le=10_000,
        multiple_of=10,
    )
    dial_ms: int = Field(
        default=100,
        title="Frame of a dial film (ms)",
        description="How long each of its small steps is shown: 31 of them at 100 take three seconds from end to end.",
        ge=20,
        le=10_000,
        multiple_of=10,
    )
    tween: int = Field(
        default=0,
        title="Frames between epochs",
        description="Pictures drawn from weights between each two neighbouring snapshots, for the film of the "
        "training. Each costs as much as a snapshot's pictures; 1 doubles the drawing, and the film takes as "
        "long as without.",
        ge=0,
        le=30,
    )
    hold_last_ms: int = Field(
        default=2000,
        title="Last frame (ms)",
        description="How long the result is held before the film starts again; the base model is held half as long.",
        ge=20,
        le=60_000,
        multiple_of=10,
    )
    tile: int = Field(
        default=256,
        title="Picture in a film (px)",
        description="Width of one picture. Smaller pictures are enlarged by the whole factor that comes nearest below, "
        "larger ones reduced: four of 256 px fill a page and a GIF of 16 epochs stays near 1 MB.",
        ge=32,
        le=1024,
    )
    sheet_tile: int = Field(
        default=128,
        title="Picture on a contact sheet (px)",
        description="Half of a film's, because the sheet shows every epoch at once.",
        ge=32,
        le=1024,
    )
    columns: int = Field(
        default=4,
        title="Pictures side by side",
        description="How many seeds share a row of a film before the next row begins.",
        ge=1,
        le=16,
    )
    formats: tuple[Literal["gif", "avif", "webp", "mp4"], ...] = Field(
        default=("gif", "avif", "mp4"),
        title="Formats",
        description="GIF opens everywhere; AVIF is a tenth of its size with truer colours, and what the gallery shows; "
        "MP4 is for phones and chats. WebP is for what cannot read AVIF, at three times its size.",
        min_length=1,
    )

    @field_validator("formats")
    @classmethod
    def _are_not_video_alone(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        if set(formats) == {"mp4"}:
            raise ValueError("the gallery shows pictures that move, not video; add gif, avif or webp")
        return formats

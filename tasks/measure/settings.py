"""What a user can set about measuring the snapshots and recommending one."""

from typing import Literal

from pydantic import Field, field_validator

from tasks.common.settings import StageSettings, working


class MeasureSettings(StageSettings):
    """How each snapshot is measured: it draws the captions of held-out pictures, which are compared with these."""

    clip_model: str = Field(
        default="openai/clip-vit-large-patch14",
        title="CLIP model",
        description="Hub id or local folder of the CLIP that sees how alike pictures, and pictures and texts, are.",
    )
    clip_revision: str | None = Field(
        default="32bd64288804d66eefd0ccbe215aa642df71cc41",
        title="CLIP revision",
        description="Commit of the CLIP model on the hub; pinned, so that it can't change.",
    )
    prompts: Literal["captions", "titles"] = Field(
        default="captions", title="What to draw",
        description="The held-out pictures' captions, or what the wiki calls them. Titles are better where they say "
        "what is drawn in words the base knows, and captions where titles are names or numbers.",
    )  # fmt: skip
    subjects: int = Field(
        default=96, ge=8, le=10000, title="Subjects",
        description="Held-out pictures whose captions are drawn; all when there are fewer. Intervals shrink with their "
        "square root; docs/measures.md says how many tell what apart.",
    )  # fmt: skip
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, title="Seeds",
        description="Each caption is drawn once with each. Another subject tells more than another seed.",
    )  # fmt: skip
    num_inference_steps: int = Field(
        default=15, ge=2, le=1000, title="Denoising steps",
        description="Steps from noise to picture; drawing time grows with them. DPM++ 2M changes little after 15.",
    )  # fmt: skip
    scheduler: Literal["ddim", "dpm++2m"] = Field(
        default="dpm++2m", title="Solver", description="As for the samples. DPM++ 2M needs about half of DDIM's steps."
    )
    guidance_scale: float = Field(
        default=7.5,
        ge=1,
        le=30,
        title="Guidance scale",
        description="As for the samples: how strongly a prompt is followed.",
    )
    negative_prompt: str = Field(default="", title="Negative prompt", description="What to steer away from.")
    height: int | None = Field(
        default=None,
        ge=16,
        multiple_of=8,
        title="Height (px)",
        description="Empty: the size the base model was trained at.",
    )
    width: int | None = Field(
        default=None,
        ge=16,
        multiple_of=8,
        title="Width (px)",
        description="Empty: the size the base model was trained at.",
    )
    strengths: tuple[float, ...] = Field(
        default=(0.8, 0.9), title="Strengths",
        description="Points between the base (0) and a snapshot (1) that are measured as well, for the snapshots "
        "nearest in style: a little less than all of it often keeps more of the picture. Empty: snapshots only.",
    )  # fmt: skip
    strengths_of: int = Field(
        default=2, ge=0, le=100, title="Snapshots with strengths", description="How many snapshots get these points."
    )
    composition_kept: float = Field(
        default=0.7, ge=0, le=1, title="Composition to keep",
        description="Likeness in composition to the base's picture (1: the same) that a recommended point is not shown "
        "to be below. With less than two thirds, capes, hats and windows are lost in the demo; 0.7 leaves room for the "
        "interval.",
    )  # fmt: skip
    agreement_kept: float = Field(
        default=0.55, ge=0, le=1, title="Agreement to keep",
        description="Share of the way from the wiki's own drawings up to the base's prompt agreement that a "
        "recommended point is not shown to be below. A little above the midpoint, so that what passes lies above it: "
        "half an interval is a tenth of the way in the demo.",
    )  # fmt: skip
    release_epoch: int | None = Field(
        default=None, ge=0, title="Release epoch",
        description="Epoch of the snapshot in the run's model folder. Empty: the recommended one.",
    )  # fmt: skip
    batch_size: int = working(
        8, ge=1, le=256, title="Pictures at once",
        description="Bound by memory: 8 pictures of 512 px need about 10 GB. Changes no picture beyond rounding.",
    )  # fmt: skip

    @field_validator("strengths")
    @classmethod
    def _between(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) != len(values) or any(not 0 < value < 1 for value in values):
            raise ValueError("strengths are distinct and lie between 0 and 1, ends left out")
        return values

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) != len(values):
            raise ValueError("the same seed is listed twice; leave one out")
        return values

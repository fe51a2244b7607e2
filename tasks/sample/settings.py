"""What a user can set about the pictures drawn from each snapshot."""

from typing import Literal

from pydantic import Field, field_validator

from tasks.common.settings import StageSettings, working


class SampleSettings(StageSettings):
    """Which pictures each snapshot draws, and how. The same prompts and seeds for every epoch, so they compare."""

    prompts: tuple[str, ...] = Field(
        default=("a smiling face", "a cat", "a house", "a red car"),
        title="Prompts",
        description="What to draw, one picture for each prompt and seed. Each prompt becomes one film.",
        min_length=1,
    )
    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2, 3),
        title="Seeds",
        description="Each seed fixes the noise a picture starts from, for every prompt and epoch, so that what differs "
        "between two epochs is the model. Four show that a change of style is no accident of one noise.",
        min_length=1,
    )
    negative_prompt: str = Field(
        default="",
        title="Negative prompt",
        description="What to steer away from; empty is what the model was trained with.",
    )
    num_inference_steps: int = Field(
        default=30,
        title="Denoising steps",
        description="Steps from noise to picture. DDIM changes little after 30; drawing time grows with them.",
        ge=2,
        le=1000,
    )
    guidance_scale: float = Field(
        default=7.5,
        title="Guidance scale",
        description="How strongly a picture follows its prompt (no unit; 1 = no guidance, half the time). 7.5 is what "
        "Stable Diffusion v1 is shown with.",
        ge=1,
        le=30,
    )
    scheduler: Literal["ddim", "dpm++2m"] = Field(
        default="ddim",
        title="Solver",
        description="Both are deterministic: no noise is added on the way. DPM++ 2M needs about 20 steps where DDIM "
        "needs 30.",
    )
    height: int | None = Field(
        default=None,
        title="Height (px)",
        description="Empty: the size the base model was trained at.",
        ge=16,
        multiple_of=8,
    )
    width: int | None = Field(
        default=None,
        title="Width (px)",
        description="Empty: the size the base model was trained at.",
        ge=16,
        multiple_of=8,
    )
    denoising_prompt: str = Field(
        default="",
        title="Prompt of the denoising film",
        description="The picture whose way from noise is filmed, with the first seed. Empty: the first prompt.",
    )
    denoising_every: int = Field(
        default=2,
        title="Steps between frames of the denoising film",
        description="2 gives 16 frames of 30 steps, enough for a smooth film.",
        ge=1,
        le=1000,
    )
    dial_frames: int = Field(
        default=31,
        title="Frames of a dial film",
        description="Pictures on the straight way from the base model to the last snapshot, both ends among them. 31 "
        "steps are small enough to look like one motion; each costs as many pictures as there are seeds of it.",
        ge=2,
        le=241,
    )
    dial_seeds: int = Field(
        default=4,
        title="Seeds of a dial film",
        description="The first so many seeds, side by side. Drawing takes frames × prompts × these pictures; 0: no "
        "dial films.",
        ge=0,
        le=16,
    )
    batch_size: int = working(
        8,
        title="Pictures at once",
        description="Bound by memory: 8 pictures of 512 px need about 10 GB. Changes no picture beyond rounding.",
        ge=1,
        le=256,
    )

    @field_validator("prompts", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(values)) != len(values):
            raise ValueError("the same one is listed twice; leave one out")
        if any(isinstance(value, str) and not value.strip() for value in values):
            raise ValueError("a prompt is empty; write what to draw or leave it out")
        return values

    @property
    def filmed_prompt(self) -> str:
        """The prompt of the denoising film."""
        return self.denoising_prompt or self.prompts[0]

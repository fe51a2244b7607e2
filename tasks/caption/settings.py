"""What a user can set about captioning."""

from typing import Any, Literal

from pydantic import Field

from tasks.common.settings import StageSettings, working


class CaptionSettings(StageSettings):
    """Which BLIP model describes the pictures, and how it searches for words."""

    model: str = Field(
        default="Salesforce/blip-image-captioning-large",
        title="Caption model",
        description="A BLIP captioning model on the hub, or a folder with one. The large one names objects and colours "
        "in drawings more often than the base one.",
        min_length=1,
    )
    revision: str | None = Field(
        default="2227ac38c9f16105cb0412e7cab4759978a8fd90",
        title="Model revision",
        description="The commit of a model on the hub: pinned, so that captions stay what they were. Not used for a "
        "folder, whose weights are identified by their hash.",
        pattern=r"^[0-9a-f]{40}$",
    )
    prompt_prefix: str = Field(
        default="",
        max_length=200,
        title="Prompt prefix",
        description="Words the caption is made to begin with, such as “a drawing of”; removed again afterwards. Empty, "
        "because every picture of one wiki is a drawing and the words would say nothing.",
    )
    num_beams: int = Field(
        default=3,
        ge=1,
        le=16,
        title="Beams",
        description="Captions searched side by side. 3 avoids the stutter of 1; more costs time and gets bland.",
    )
    min_new_tokens: int = Field(
        default=5,
        ge=0,
        le=100,
        title="Shortest caption",
        description="Tokens (about words). Below 5 the large BLIP often stops at “a cartoon”.",
    )
    max_new_tokens: int = Field(
        default=30,
        ge=1,
        le=100,
        title="Longest caption",
        description="Tokens. Stable Diffusion v1 reads 77, and past 30 BLIP repeats itself.",
    )
    repetition_penalty: float = Field(
        default=1.1,
        ge=1.0,
        le=2.0,
        title="Repetition penalty",
        description="Factor against words already said; 1.1 is enough to stop loops without forbidding “a”.",
    )
    no_repeat_ngram_size: int = Field(
        default=3,
        ge=0,
        le=10,
        title="No repeated n-gram",
        description="Tokens in a row that may not come twice; 0 allows all. 3 leaves “a man and a man” possible.",
    )
    batch_size: int = working(
        16,
        ge=1,
        le=512,
        title="Batch size",
        description="Images described at once; halved by itself when memory runs out.",
    )
    device: Literal["auto", "cpu", "cuda"] = working(
        "auto", title="Device", description="Where the model runs; auto takes a GPU when there is one."
    )

    def output_settings(self) -> dict[str, Any]:
        """Without the model's name: a folder's path says nothing of its weights, and `model_identity` stands in."""
        return {k: v for k, v in super().output_settings().items() if k not in ("model", "revision")}

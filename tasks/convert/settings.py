"""What a user can set about turning a wiki's files into training JPEGs."""

from PIL import ImageColor
from pydantic import Field, field_validator

from tasks.common.settings import StageSettings, working


class ConvertSettings(StageSettings):
    """Which files are worth keeping, and what their JPEGs look like."""

    min_side: int = Field(
        default=64,
        ge=1,
        le=4096,
        title="Smallest side",
        description="Pixels. Files with a shorter side are set aside: icons have no drawing style to learn.",
    )
    max_aspect: float = Field(
        default=4.0,
        ge=1.0,
        le=100.0,
        title="Longest shape",
        description="Longer side ÷ shorter side. Banners beyond it are set aside: a square crop shows none of them.",
    )
    max_side: int = Field(
        default=1024,
        ge=16,
        le=8192,
        title="Largest side",
        description="Pixels. Larger pictures are made smaller (never larger): twice the 512 px that Stable Diffusion "
        "v1 trains at leaves room for crops, and more only fills the store.",
    )
    quality: int = Field(
        default=95,
        ge=50,
        le=100,
        title="JPEG quality",
        description="Pillow's scale of 50–100. At 95, without colour subsampling, flat cartoon colour stays clean.",
    )
    background: str = Field(
        default="white",
        title="Background",
        description="Colour (name or #rrggbb) behind transparent pixels. White, as a wiki page shows them.",
        pattern=r"^(#[0-9a-fA-F]{6}|[a-zA-Z]+)$",
    )

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        try:
            ImageColor.getrgb(value)
        except ValueError:
            raise ValueError(f"{value!r} is no colour; give a CSS colour name such as white, or #rrggbb") from None
        return value

    max_pixels: int = Field(
        default=64_000_000,
        ge=4096,
        le=89_000_000,
        title="Decode limit",
        description="Pixels (width × height). Anything larger is refused before it is decoded, so a decompression bomb "
        "can't fill memory. The bound is Pillow's own limit.",
    )
    threads: int = working(
        4,
        ge=1,
        le=64,
        title="Threads",
        description="Files converted at once in a batch; Pillow leaves Python free while it decodes. Large pictures "
        "wait for each other: those being converted have at most 64 megapixels together.",
    )

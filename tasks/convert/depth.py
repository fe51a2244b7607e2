"""Grey of more than eight bits a sample, and TIFFs whose depth Pillow doesn't read."""

import io

import numpy as np
from PIL import Image, TiffImagePlugin

BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0, section 8


def sample_of(image: Image.Image) -> tuple[int, bool]:
    """(bits a sample really has, whether 0 is white and Pillow leaves it so), of a picture as it was opened."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 16, False
    bits = image.tag_v2.get(BITS, (16,))[0]
    return bits, bits == 16 and image.tag_v2.get(PHOTOMETRIC, 1) == WHITE_IS_ZERO


def eight_bits(image: Image.Image, bits: int, inverted: bool) -> Image.Image | None:
    """Grey of mode I;16 → its eight highest bits, mode L, or LA when one value is clear.

    Pillow's own convert clips, which turns nearly all white, and it leaves twelve bits in the lower part of sixteen.
    None for any other mode: its range is unknown.
    """
    if not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image)
    grey = np.minimum(values >> (bits - 8), 255).astype(np.uint8)
    picture = Image.fromarray(255 - grey if inverted else grey)
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return picture
    return Image.merge("LA", (picture, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))))


def unread_depth(data: bytes) -> str | None:
    """What the samples of a TIFF that Pillow can't read are, such as "10 bits a sample"; None for anything else."""
    if data[:4] not in TiffImagePlugin.PREFIXES:
        return None
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2:3] == b"\x2b" else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bits = tags.get(BITS, (1,))
        return f"{'/'.join(map(str, dict.fromkeys(bits)))} bits a sample, {len(bits)} samples a pixel"
    except Exception:  # a damaged header raises nearly anything
        return None

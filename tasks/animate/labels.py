"""What is written on a frame, and the colours all frames share. The font is the one that comes with Pillow."""

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, SOFT, RULE, ACCENT = "#f4f1ea", "#211f1b", "#6f695f", "#ddd7ca", "#c8402a"


def epoch_label(epoch: int) -> str:
    """Epoch 0 is the model before any training."""
    return "base model" if epoch == 0 else f"epoch {epoch}"


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at a size in px: the same letters on every machine."""
    return ImageFont.load_default(size)


def write(frame: Image.Image, at: tuple[float, float], text: str, style: tuple[float, str], width: float) -> None:
    """Write one line at a left baseline in (size in px, colour), cut with an ellipsis if wider than `width` px."""
    (size, colour), draw = style, ImageDraw.Draw(frame)
    face = font(size)
    shown = text
    while draw.textlength(shown, face) > width and text:
        text = text[:-1]
        shown = text.rstrip() + "…"
    draw.text(at, shown, fill=colour, font=face, anchor="ls")

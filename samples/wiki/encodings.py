"""The file formats a wiki has grown over the years: one drawing in, the bytes of one file out.

Every function takes an RGBA image with transparent surroundings and returns bytes; equal images give equal bytes.
"""

import io

from PIL import Image, ImageCms, ImageDraw, ImageOps

HIDDEN = (255, 0, 200)  # the loud colour some editors leave under transparent pixels
WEBP_QUALITY = 85
JPEG_QUALITY = 88


def on_white(drawing: Image.Image) -> Image.Image:
    """The drawing composited on white, RGB."""
    return Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(drawing: Image.Image) -> bytes:
    """PNG with alpha: what most of a wiki is."""
    return _save(drawing, "PNG", optimize=True)


def png_again(drawing: Image.Image) -> bytes:
    """The same pixels as `png` in other bytes: saved by another program, less well compressed."""
    return _save(drawing, "PNG", compress_level=3)


def png_hidden_colour(drawing: Image.Image) -> bytes:
    """PNG with alpha whose fully transparent pixels hold a loud colour that must never be seen."""
    shown = drawing.getchannel("A").point([0] + [255] * 255)
    hidden = Image.new("RGBA", drawing.size, (*HIDDEN, 0))
    return png(Image.composite(drawing, hidden, shown))


def png_palette(drawing: Image.Image) -> bytes:
    """PNG with 64 colours, one of them transparent, with a loud colour in the palette under it."""
    return _save(_with_transparent_index(drawing, 63), "PNG", optimize=True, transparency=63)


def png_grey_alpha(drawing: Image.Image) -> bytes:
    """PNG in grey with alpha (LA)."""
    return _save(drawing.convert("LA"), "PNG", optimize=True)


def png_grey_16(drawing: Image.Image) -> bytes:
    """PNG in 16-bit grey, on white."""
    grey = on_white(drawing).convert("L")
    return _save(grey.convert("I").point(lambda v: v * 257).convert("I;16"), "PNG")


def gif(drawing: Image.Image) -> bytes:
    """GIF with one transparent colour."""
    return _save(_with_transparent_index(drawing, 127), "GIF", transparency=127)


def gif_animated(drawing: Image.Image) -> bytes:
    """GIF of three frames: the drawing, then the drawing tilted left and right."""
    turned = [on_white(drawing.rotate(angle, Image.Resampling.BICUBIC)) for angle in (0, 8, -8)]
    frames = [frame.quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for frame in turned]
    return _save(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=180, loop=0)


def webp(drawing: Image.Image) -> bytes:
    """WebP with alpha."""
    return _save(drawing, "WEBP", quality=WEBP_QUALITY, method=6)


def jpeg(drawing: Image.Image) -> bytes:
    """Baseline JPEG on white."""
    return _save(on_white(drawing), "JPEG", quality=JPEG_QUALITY)


def jpeg_progressive(drawing: Image.Image) -> bytes:
    """Progressive JPEG on white."""
    return _save(on_white(drawing), "JPEG", quality=JPEG_QUALITY, progressive=True, optimize=True)


def jpeg_with_profile(drawing: Image.Image) -> bytes:
    """JPEG on white with an sRGB profile inside."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the profile's creation time, which would make every build different
    return _save(on_white(drawing), "JPEG", quality=JPEG_QUALITY, icc_profile=bytes(profile))


def jpeg_cmyk(drawing: Image.Image) -> bytes:
    """CMYK JPEG on white, as print shops make them."""
    return _save(on_white(drawing).convert("CMYK"), "JPEG", quality=JPEG_QUALITY)


def jpeg_sideways(drawing: Image.Image) -> bytes:
    """JPEG stored lying on its side, with EXIF orientation 6 that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # "the 0th row is the visual right-hand side": viewers turn it 90° clockwise
    stored = on_white(drawing).transpose(Image.Transpose.ROTATE_90)
    return _save(stored, "JPEG", quality=JPEG_QUALITY, exif=exif)


def jpeg_truncated(drawing: Image.Image) -> bytes:
    """A JPEG whose upload broke off after 60 % of its bytes."""
    whole = jpeg(drawing)
    return whole[: len(whole) * 6 // 10]


def banner(drawings: list[Image.Image], width: int = 1600, height: int = 64) -> bytes:
    """A site banner: small drawings in a very wide row, PNG."""
    row = Image.new("RGBA", (width, height), (255, 222, 89, 255))
    ImageDraw.Draw(row).rectangle((0, height - 4, width, height), fill="black")
    for i, drawing in enumerate(drawings):
        small = ImageOps.contain(drawing, (height - 12, height - 12), Image.Resampling.LANCZOS)
        row.alpha_composite(small, (8 + i * width // len(drawings), 4))
    return png(row.convert("RGB"))


def _with_transparent_index(drawing: Image.Image, index: int) -> Image.Image:
    """A palette image of `index` colours plus one, `index`, for what is mostly transparent."""
    palette = on_white(drawing).quantize(index, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = (palette.getpalette() or [])[: index * 3]
    palette.putpalette(colours + [255] * (index * 3 - len(colours)) + list(HIDDEN))
    palette.paste(index, mask=drawing.getchannel("A").point([255] * 128 + [0] * 128))
    return palette

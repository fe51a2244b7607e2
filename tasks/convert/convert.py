"""A wiki file's bytes → a plain RGB JPEG, or the reason why not."""

import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

from PIL import GifImagePlugin, Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError
from pydantic import ConfigDict

from tasks.common.allocator import give_back_freed_memory
from tasks.common.errors import WikistyleError
from tasks.common.records import Jpeg, Original, Record, Reject
from tasks.common.store import Store
from tasks.convert.depth import eight_bits, sample_of, unread_depth
from tasks.convert.room import SHARED
from tasks.convert.settings import ConvertSettings

FRAMES_COUNTED = 1000
STRIP = 256  # rows
LARGE_PIXELS = 4_000_000
# No other decoder is offered a stranger's bytes.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
HTML = re.compile(
    rb"^(\xef\xbb\xbf)?\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)*<(!doctype html|html|head|body)", re.IGNORECASE | re.DOTALL
)
SVG = re.compile(
    rb"^(\xef\xbb\xbf)?\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*|<!doctype svg.*?>\s*)*<svg", re.IGNORECASE | re.DOTALL
)


class ConvertReject(WikistyleError):
    """This file can't or shouldn't become a training JPEG; the message is the reason, for a person."""


@dataclass(frozen=True)
class ConvertedImage:
    """`jpeg`: baseline 4:4:4 bytes of `width` × `height` px; `frames` the source had (FRAMES_COUNTED: or more);
    `pixel_sha256` of the source's RGB pixels at full size."""

    jpeg: bytes
    width: int
    height: int
    frames: int
    pixel_sha256: str


class Converted(Record):
    """What became of one original, by content alone: its `key`, and either a JPEG's key or the `reason` for none."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # older memories also hold a hash that nothing read
    key: str
    jpeg_key: str | None = None
    width: int = 0
    height: int = 0
    frames: int = 0
    pixel_sha256: str = ""
    reason: str | None = None


def convert(data: bytes, settings: ConvertSettings) -> ConvertedImage:
    """Decode, turn upright, bring to sRGB on the background, shrink to `max_side`, and encode without metadata.

    The same bytes and settings give the same JPEG bytes. Raises ConvertReject with the reason.
    """
    image = _open(data, settings)
    frames = _guarded(lambda: _frames(image))
    pixels = image.width * image.height
    with SHARED.of(pixels):
        try:
            return _converted(image, frames, settings)
        finally:
            if pixels > LARGE_PIXELS:
                give_back_freed_memory()


def _converted(image: Image.Image, frames: int, settings: ConvertSettings) -> ConvertedImage:
    picture = _guarded(lambda: _to_rgb(image, settings.background))
    image.close()  # its pixels, as they were before
    pixels = _pixel_hash(picture)
    longest = max(picture.size)
    if longest > settings.max_side:
        scale = settings.max_side / longest
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.info.clear()  # Pillow would write the source's comment and profile into the JPEG
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=settings.quality, subsampling=0, optimize=False, progressive=False)
    return ConvertedImage(out.getvalue(), picture.width, picture.height, frames, pixels)


def _frames(image: Image.Image) -> int:
    """How many frames there are, counted no further than FRAMES_COUNTED: a small TIFF can claim a million."""
    if image.format == "MPO":  # a camera's JPEG with another picture behind it, not an animation
        return 1
    if image.format not in ("TIFF", "GIF"):  # the others say so in their header
        return min(getattr(image, "n_frames", 1), FRAMES_COUNTED)
    step: Callable[[int], None] = image.seek
    if isinstance(image, GifImagePlugin.GifImageFile):
        step = partial(image._seek, update_image=False)  # as `n_frames` does it: drawing none of them
    for count in range(1, FRAMES_COUNTED):
        try:
            step(count)
        except EOFError:
            return count
    return FRAMES_COUNTED


def _pixel_hash(picture: Image.Image) -> str:
    """sha256 of size and RGB pixels, a strip at a time: a copy of the whole would be large."""
    digest = hashlib.sha256(f"{picture.width}x{picture.height} RGB ".encode())
    for top in range(0, picture.height, STRIP):
        digest.update(picture.crop((0, top, picture.width, min(top + STRIP, picture.height))).tobytes())
    return digest.hexdigest()


def convert_each(keys: Sequence[str], settings: ConvertSettings, store: Store) -> Iterator[tuple[str, Converted]]:
    """Each original in the store with what became of it, in the order they are done; one that can't be has a reason.

    When an original can't be read (StoreError), no further one is begun, and the error comes after what was done.
    """

    stop = threading.Event()

    def one(key: str) -> Converted | None:
        if stop.is_set():
            return None
        try:
            made = convert(store.read(key), settings)
        except ConvertReject as reject:
            return Converted(key=key, reason=str(reject))
        return Converted(
            key=key,
            jpeg_key=store.put(made.jpeg),
            width=made.width,
            height=made.height,
            frames=made.frames,
            pixel_sha256=made.pixel_sha256,
        )

    error: BaseException | None = None
    with ThreadPoolExecutor(settings.threads) as threads:
        try:
            # Not by cancelling those that wait: `as_completed` never hears of futures that were.
            for future in as_completed([threads.submit(one, key) for key in keys]):
                if raised := future.exception():
                    error = error or raised
                    stop.set()
                elif done := future.result():
                    yield done.key, done
        finally:
            stop.set()
    if error:
        raise error


def to_jpegs(originals: Sequence[Original], converted: Sequence[Converted]) -> tuple[list[Jpeg], list[Reject]]:
    """Join results, which know only content, with their originals: each original becomes one of the two."""
    by_key = {item.key: item for item in converted}
    jpegs, rejects = [], []
    for original in originals:
        item = by_key[original.key]
        if item.jpeg_key is None:
            image = original.image
            rejects.append(Reject(title=image.title, sha1=image.sha1, stage="convert", reason=item.reason or "unknown"))
            continue
        jpegs.append(
            Jpeg(
                original=original,
                key=item.jpeg_key,
                width=item.width,
                height=item.height,
                frames=item.frames,
                pixel_sha256=item.pixel_sha256,
            )
        )
    return jpegs, rejects


def _open(data: bytes, settings: ConvertSettings) -> Image.Image:
    """The image with only its header read, once the rules that need no pixels are kept."""
    if not data:
        raise ConvertReject("empty file (0 bytes)")
    if HTML.match(data[:2048]):
        raise ConvertReject("a web page, not an image")
    if SVG.match(data[:2048]):
        raise ConvertReject("SVG source; the wiki must be asked for a raster of it")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ConvertReject(f"more than max_pixels {settings.max_pixels} pixels") from None
    except UnidentifiedImageError:
        depth = unread_depth(data)
        raise ConvertReject(f"TIFF of {depth}: not read" if depth else "not an image in a known format") from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise ConvertReject(_damaged(error)) from error
    width, height = image.size
    if width * height > settings.max_pixels:
        raise ConvertReject(f"{width}×{height} is more than max_pixels {settings.max_pixels} pixels")
    if min(width, height) < settings.min_side:
        raise ConvertReject(f"{width}×{height} px is smaller than min_side {settings.min_side}")
    if max(width, height) > settings.max_aspect * min(width, height):
        raise ConvertReject(f"{width}×{height} px is a banner: longer than max_aspect {settings.max_aspect:g} : 1")
    return image


def _guarded(decode: Callable):
    """Run a decoding step; whatever damaged data makes it raise is the reason of a reject."""
    try:
        return decode()
    except (ConvertReject, MemoryError):  # MemoryError is the machine's trouble, not the file's
        raise
    except Exception as error:
        raise ConvertReject(_damaged(error)) from error


def _damaged(error: Exception) -> str:
    return f"damaged: {' '.join(str(error).split()) or type(error).__name__}"


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    """Frame 0, upright, sRGB, on the background, mode RGB. Loads every pixel: `verify` passes truncated files."""
    image.seek(0)
    image.load()
    profile, sample = image.info.get("icc_profile"), sample_of(image)
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        grey = eight_bits(image, *sample)
        if grey is None:
            raise ConvertReject(f"pixels of mode {image.mode} have no known range")
        image = grey
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    image = _to_srgb(image, profile)
    if alpha is None:
        return image
    canvas = Image.new("RGB", image.size, ImageColor.getrgb(background))
    canvas.paste(image, mask=alpha)
    return canvas


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF is no reason to lose the picture
        return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB by the embedded profile; one that is broken or meant for another mode is passed over."""
    if profile and image.mode in ("RGB", "L", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # a picture with its sRGB profile stays equal, pixel for pixel, to the same picture without
            if not ImageCms.getProfileDescription(source).startswith("sRGB"):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return converted if converted is not None else image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")

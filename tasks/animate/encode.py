"""Frames to animated GIF, AVIF and WebP, and to MP4; the same frames give the same bytes. docs/films.md has figures."""

import io
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WEBP_QUALITY = 85
AVIF_QUALITY, AVIF_SPEED = 60, 8  # a third of a WebP as good; speed 6 is 2 dB better in fifteen times the time
MP4_CRF = 20
MIME = {
    "gif": "image/gif", "webp": "image/webp", "avif": "image/avif", "png": "image/png", "mp4": "video/mp4",
}  # fmt: skip


def durations(frames: int, frame_ms: int, hold_last_ms: int) -> list[int]:
    """Milliseconds for each frame: the last is held, the first half as long, so that one sees where it began."""
    times = [frame_ms] * frames
    times[0] = max(frame_ms, hold_last_ms // 20 * 10)
    times[-1] = hold_last_ms
    return times


def merge_equal(frames: list[Image.Image], times: list[int]) -> tuple[list[Image.Image], list[int]]:
    """One frame, shown for the sum of their times, for neighbours that are the same picture.

    Encoders do this each in their own way; done here, every format has the same frames and the same length.
    """
    kept, shown = [frames[0]], [times[0]]
    for image, ms in zip(frames[1:], times[1:], strict=True):
        if image.size == kept[-1].size and image.tobytes() == kept[-1].tobytes():
            shown[-1] += ms
        else:
            kept.append(image)
            shown.append(ms)
    return kept, shown


def film(frames: list[Image.Image], times: list[int], kind: str) -> bytes:
    """RGB frames and their times in ms (multiples of 10) as an endless "gif", "avif" or "webp", or as an "mp4"."""
    kept, shown = merge_equal(frames, times)
    if kind == "gif":
        return _gif(kept, shown)
    if kind == "mp4":
        return _mp4(kept, shown)
    if kind == "avif":  # one thread: more cut the picture up, and would do so differently on another machine
        made = _through_imageio(kept, shown, ".avif", quality=AVIF_QUALITY, speed=AVIF_SPEED, max_threads=1)
        return without_times(made)
    return _through_imageio(kept, shown, ".webp", quality=WEBP_QUALITY, method=4, loop=0)


def still(image: Image.Image) -> bytes:
    """A lossless PNG."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _gif(frames: list[Image.Image], times: list[int]) -> bytes:
    """A palette for each frame, because the colours change as the style does; no dither, which flickers and bloats.

    An octree palette: against median cut, 0.6 dB for a file of 38 % of the size.
    """
    flat = [image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for image in frames]
    data = io.BytesIO()
    flat[0].save(data, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0)
    return data.getvalue()


def _through_imageio(frames: list[Image.Image], times: list[int], extension: str, **options: Any) -> bytes:
    """Through imageio, which takes times in ms. (Its GIFs have no octree palettes, so those are made above.)"""
    import imageio.v3 as iio

    stack = np.stack([np.asarray(image) for image in frames])
    return iio.imwrite("<bytes>", stack, extension=extension, plugin="pillow", duration=times, **options)


def without_times(data: bytes) -> bytes:
    """An ISO base media file (AVIF, MP4; ISO/IEC 14496-12) whose movie, track and media headers were made at no time.

    libavif writes the clock into them, which no setting turns off.
    """
    made = bytearray(data)

    def walk(at: int, end: int) -> None:
        while at + 8 <= end:
            size, kind = int.from_bytes(made[at : at + 4], "big"), bytes(made[at + 4 : at + 8])
            if size < 8:  # to the end of the file, or longer than 4 GiB: no header is
                return
            if kind in (b"moov", b"trak", b"mdia"):
                walk(at + 8, at + size)
            elif kind in (b"mvhd", b"tkhd", b"mdhd"):
                width = 16 if made[at + 8] == 1 else 8  # created and changed, of 8 or 4 bytes each
                made[at + 12 : at + 12 + width] = bytes(width)
            at += size

    walk(0, len(made))
    return bytes(made)


def _mp4(frames: list[Image.Image], times: list[int]) -> bytes:
    """H.264 at the frame rate that all times are multiples of; played once, as films on a phone are.

    By PyAV itself: imageio's plugin for it takes neither a quality nor a number of threads, and x264 writes that into
    the file. Sides are made even by repeating the last column and row, as 4:2:0 needs.
    """
    import av

    beat = math.gcd(*times)
    width, height = (side + side % 2 for side in frames[0].size)
    with tempfile.TemporaryDirectory(prefix="wikistyle-") as folder:  # `faststart` needs a file that it can read again
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            options = {"crf": str(MP4_CRF), "preset": "medium", "threads": "1"}
            stream = container.add_stream("libx264", rate=Fraction(1000, beat), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image, ms in zip(frames, times, strict=True):
                pixels = np.asarray(image)
                even = np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), "edge")
                for _ in range(ms // beat):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()

"""What careless and hostile files may cost, and greys of odd depths: right, or rejected by name, and never black."""

import io
import itertools
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tasks.convert.convert import FRAMES_COUNTED, ConvertReject, convert
from tasks.convert.room import Room
from tasks.convert.settings import ConvertSettings

SETTINGS = ConvertSettings()


def tiff(bits: int, samples: int = 1, photometric: int = 1, order: str = "<", frames: int = 1) -> bytes:
    """An uncompressed TIFF 6.0 of 80 × 64 px: left half a quarter, right half three quarters of full scale."""
    full = 2**bits - 1
    row = [full // 4] * 40 * samples + [full * 3 // 4] * 40 * samples
    if bits == 16:
        line = struct.pack(f"{order}{len(row)}H", *row)
    else:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        line = int(text, 2).to_bytes(len(text) // 8, "big")
    pixels = line * 64
    depth = struct.pack(f"{order}{samples}H", *[bits] * samples)
    start = 8
    at_depth = start + len(pixels)
    at_first = at_depth + len(depth) + len(depth) % 2
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at_first) + pixels + depth
    out += b"\0" * (at_first - len(out))
    tags = [
        (256, 3, 1, 80), (257, 3, 1, 64), (258, 3, samples, bits if samples == 1 else at_depth), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, start), (277, 3, 1, samples), (278, 3, 1, 64), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    size = 2 + 12 * len(tags) + 4
    for frame in range(frames):
        out_tags = struct.pack(f"{order}H", len(tags))
        for tag, kind, count, value in tags:
            packed = (
                struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
            )
            out_tags += struct.pack(f"{order}HHI", tag, kind, count) + packed
        following = at_first + size * (frame + 1) if frame + 1 < frames else 0
        out += out_tags + struct.pack(f"{order}I", following)
        if frames > 100 and frame == 0:
            out = bytearray(out)  # appended to in place
    return bytes(out)


def halves(data: bytes) -> tuple[int, int]:
    pixels = np.asarray(Image.open(io.BytesIO(convert(data, SETTINGS).jpeg))).astype(int)
    return int(pixels[32, 10].mean()), int(pixels[32, 70].mean())


def rejection(data: bytes) -> str:
    try:
        convert(data, SETTINGS)
    except ConvertReject as reject:
        return str(reject)
    return ""


@pytest.mark.parametrize(
    ("bits", "samples", "photometric", "order"),
    [
        (1, 1, 1, "<"), (2, 1, 1, "<"), (4, 1, 1, "<"), (8, 1, 1, "<"), (12, 1, 1, "<"), (16, 1, 1, "<"),
        (12, 1, 1, ">"), (16, 1, 1, ">"), (8, 1, 0, "<"), (16, 1, 0, "<"), (12, 1, 0, "<"), (16, 1, 0, ">"),
        (10, 1, 1, "<"), (14, 1, 1, "<"), (32, 1, 1, "<"),
        (8, 3, 2, "<"), (16, 3, 2, "<"), (16, 3, 2, ">"), (10, 3, 2, "<"), (12, 3, 2, "<"), (14, 3, 2, ">"),
    ],
)  # fmt: skip
def test_a_tiff_of_any_depth_comes_out_right_or_is_rejected_by_name(bits, samples, photometric, order):
    data = tiff(bits, samples, photometric, order)
    refused = rejection(data)
    if refused:
        assert bits in (10, 12, 14, 32) or (bits, photometric, order) == (16, 0, ">")
        assert f"{bits} bits a sample, {samples} samples a pixel" in refused or "no known range" in refused
        return
    left, right = halves(data)
    steps = 2**bits - 1
    expected = [255 * (steps // 4) / steps, 255 * (steps * 3 // 4) / steps]
    if photometric == 0:
        expected = [255 - value for value in expected]
    assert (left, right) == pytest.approx(expected, abs=3)


def test_grey_of_twelve_bits_is_read():
    assert halves(tiff(12)) == pytest.approx((63, 191), abs=2)


def test_grey_in_numbers_of_any_range_is_rejected_and_not_black():
    out = io.BytesIO()
    Image.fromarray(np.full((80, 80), 200, np.int32)).save(out, "TIFF")
    with pytest.raises(ConvertReject, match="pixels of mode I have no known range"):
        convert(out.getvalue(), SETTINGS)


def test_frames_are_counted_to_a_limit():
    """All frames of a TIFF that claims 60,000 took 36 s to count, and twice as many four times as long."""
    few, many = convert(tiff(8, frames=5), SETTINGS), convert(tiff(8, frames=60_000), SETTINGS)
    assert few.frames == 5
    assert many.frames == FRAMES_COUNTED
    assert many.jpeg == few.jpeg


def test_frames_of_a_gif_are_counted_to_the_same_limit():
    out = io.BytesIO()
    shades = [Image.new("L", (64, 64), 50 + n % 2 * 100) for n in range(FRAMES_COUNTED + 5)]
    shades[0].save(out, "GIF", save_all=True, append_images=shades[1:])
    made = convert(out.getvalue(), SETTINGS)
    assert made.frames == FRAMES_COUNTED
    assert np.asarray(Image.open(io.BytesIO(made.jpeg))).mean() == pytest.approx(50, abs=2)


@pytest.mark.parametrize("wrong", ["gren", "transparent", "#12345", "rgb(1,2,3)"])
def test_a_background_that_is_no_colour_is_refused_with_the_settings(wrong):
    with pytest.raises(ValidationError):
        ConvertSettings(background=wrong)
    if wrong == "gren":
        with pytest.raises(ValidationError, match="'gren' is no colour; give a CSS colour name such as white, or #"):
            ConvertSettings(background=wrong)


@pytest.mark.parametrize("right", ["white", "RebeccaPurple", "#14a03c"])
def test_a_background_that_is_one_is_taken(right):
    assert ConvertSettings(background=right).background == right


def test_room_is_never_more_than_there_is_and_everyone_gets_in():
    room, inside, most, lock = Room(100), [0], [0], threading.Lock()

    def enter(pixels: int) -> None:
        with room.of(pixels):
            with lock:
                inside[0] += min(pixels, 100)
                most[0] = max(most[0], inside[0])
            threading.Event().wait(0.002)
            with lock:
                inside[0] -= min(pixels, 100)

    sizes = itertools.islice(itertools.cycle((10, 30, 60, 1000, 100)), 60)
    threads = [threading.Thread(target=enter, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 100
    assert inside[0] == 0


LARGE = """
import io, resource, sys
from PIL import Image
from tasks.convert.convert import convert_each
from tasks.convert.settings import ConvertSettings
from tasks.common.store import Store
store, keys = Store(sys.argv[1]), []
for number in range(int(sys.argv[2])):
    out = io.BytesIO()
    Image.new("P", (4000, 4000), number).save(out, "PNG", transparency=255)
    keys.append(store.put(out.getvalue()))
settings = ConvertSettings(threads=8, max_pixels=16_000_000)
print(all(done.jpeg_key for _, done in convert_each(keys, settings, store)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_eight_threads_of_large_pictures_take_no_more_than_the_bound(tmp_path):
    """Memory of a process of its own. Twelve pictures of 16 megapixels, four of them at once."""
    command = [sys.executable, "-c", LARGE, str(tmp_path), "12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
    assert int(done.stdout.split()[1]) < 64_000_000 * 16 + 200_000_000

"""Every trap a wiki's files hold ends as the right JPEG or as a reject that says why."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin

from tasks.common.records import Original, WikiImage
from tasks.common.store import Store, StoreError
from tasks.convert.convert import Converted, ConvertReject, _guarded, convert, convert_each, to_jpegs
from tasks.convert.settings import ConvertSettings

SETTINGS = ConvertSettings()
RED, GREEN, BLUE, WHITE = (220, 30, 40), (20, 160, 60), (30, 60, 200), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data: bytes, settings: ConvertSettings = SETTINGS) -> np.ndarray:
    image = Image.open(io.BytesIO(convert(data, settings).jpeg))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def assert_colour(pixel, expected, tolerance=6):
    assert np.abs(np.asarray(pixel) - expected).max() <= tolerance, f"{pixel} is not {expected}"


def halves(mode: str, left, right, size=(100, 80)) -> Image.Image:
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def reason(data: bytes, settings: ConvertSettings = SETTINGS) -> str:
    with pytest.raises(ConvertReject) as caught:
        convert(data, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def transparent_images():
    hidden_red = halves("RGBA", (*BLUE, 255), (*RED, 0))
    palette = halves("P", 0, 1)
    palette.putpalette([*BLUE, *RED])
    grey_alpha = halves("LA", (90, 255), (10, 0))
    yield "RGBA PNG", encoded(hidden_red), BLUE
    yield "lossless WebP", encoded(hidden_red, "WEBP", lossless=True, exact=True), BLUE
    yield "lossy WebP", encoded(hidden_red, "WEBP", quality=95), BLUE
    yield "palette PNG", encoded(palette, transparency=1), BLUE
    yield "palette PNG, alpha per entry", encoded(palette, transparency=b"\xff\x00"), BLUE
    yield "palette GIF", encoded(palette, "GIF", transparency=1), BLUE
    yield "grey and alpha", encoded(grey_alpha), (90, 90, 90)
    yield "RGB with one clear colour", encoded(halves("RGB", BLUE, RED), transparency=RED), BLUE
    yield "grey with one clear value", encoded(halves("L", 90, 10), transparency=10), (90, 90, 90)
    yield "16-bit grey with one clear value", sixteen_bit(90 << 8, 10 << 8, clear=10 << 8), (90, 90, 90)


def sixteen_bit(left: int, right: int, clear: int | None = None) -> bytes:
    values = np.full((80, 100), left, np.uint16)
    values[:, 50:] = right
    data = encoded(Image.fromarray(values))
    if clear is None:
        return data
    # Pillow writes no tRNS chunk for 16-bit grey: put one before IDAT
    out, at = io.BytesIO(), data.index(b"IDAT") - 4
    out.write(data[:at])
    PngImagePlugin.putchunk(out, b"tRNS", clear.to_bytes(2, "big"))
    out.write(data[at:])
    return out.getvalue()


@pytest.mark.parametrize(("data", "left"), [pytest.param(*rest, id=name) for name, *rest in transparent_images()])
def test_transparency_shows_the_background_and_never_the_hidden_colour(data, left):
    pixels = decoded(data)
    assert_colour(pixels[40, 20], left)
    assert_colour(pixels[40, 80], WHITE)
    assert_colour(decoded(data, ConvertSettings(background="#14a03c"))[40, 80], GREEN)


def test_half_transparent_mixes_with_the_background():
    assert_colour(decoded(encoded(Image.new("RGBA", (80, 80), (0, 0, 0, 128))))[40, 40], (127, 127, 127))


def test_sixteen_bit_grey_keeps_its_tones():
    pixels = decoded(sixteen_bit(60 << 8 | 17, 200 << 8 | 99))
    assert_colour(pixels[40, 20], (60, 60, 60))
    assert_colour(pixels[40, 80], (200, 200, 200))


def test_one_bit_and_grey():
    assert_colour(decoded(encoded(halves("1", 0, 1)))[40, 20], (0, 0, 0))
    assert_colour(decoded(encoded(halves("L", 77, 1)))[40, 20], (77, 77, 77))


def test_exif_orientation_turns_the_picture_and_broken_exif_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90° clockwise to view
    made = convert(encoded(halves("RGB", BLUE, RED), "JPEG", exif=exif, quality=95), SETTINGS)
    assert (made.width, made.height) == (80, 100)
    pixels = np.asarray(Image.open(io.BytesIO(made.jpeg))).astype(int)
    assert_colour(pixels[10, 40], BLUE)
    assert_colour(pixels[90, 40], RED)
    broken = encoded(halves("RGB", BLUE, RED), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff", quality=95)
    assert_colour(decoded(broken)[40, 20], BLUE)


def test_cmyk_jpeg_becomes_the_colour_it_shows():
    assert_colour(decoded(encoded(Image.new("CMYK", (80, 80), (0, 255, 255, 0)), "JPEG"))[40, 40], (254, 0, 0))


def swapped_profile() -> bytes:
    """An RGB profile whose red and green primaries are swapped: right colour management can't be missed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at_r, at_g = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[at_r : at_r + 4], data[at_g : at_g + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace("sRGB built-in".encode("utf-16-be"), "Swap built-in".encode("utf-16-be"))


def test_embedded_profile_is_applied_and_not_kept():
    data = encoded(Image.new("RGB", (80, 80), (255, 0, 0)), icc_profile=swapped_profile())
    assert_colour(decoded(data)[40, 40], (0, 255, 0))
    assert "icc_profile" not in Image.open(io.BytesIO(convert(data, SETTINGS).jpeg)).info


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_broken_or_foreign_profile_is_passed_over(mode):
    colour = {"RGB": BLUE, "L": 90, "CMYK": (255, 255, 0, 0)}[mode]
    plain = encoded(Image.new(mode, (80, 80), colour), "TIFF")
    for profile in (b"rubbish", swapped_profile() if mode != "RGB" else b""):
        tagged = encoded(Image.new(mode, (80, 80), colour), "TIFF", icc_profile=profile)
        assert (decoded(tagged) == decoded(plain)).all()


def test_srgb_profile_changes_nothing_so_duplicates_are_found():
    plain, srgb = Image.new("RGB", (80, 80), BLUE), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile = convert(encoded(plain, icc_profile=srgb), SETTINGS)
    assert with_profile.pixel_sha256 == convert(encoded(plain, "BMP"), SETTINGS).pixel_sha256


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame_and_its_length(kind):
    frames = [Image.new("RGB", (80, 80), colour) for colour in (BLUE, RED, GREEN)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    made = convert(data, SETTINGS)
    assert made.frames == 3
    assert_colour(decoded(data)[40, 40], BLUE, tolerance=10)


def noise(size=(120, 100)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.7, 0.95])
def test_truncated_file_is_damaged(kind, part):
    data = encoded(noise(), kind)
    assert reason(data[: int(len(data) * part)]).startswith("damaged: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file (0 bytes)"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, not an image"),
        (b"\n <!-- x --><HTML><body>", "a web page, not an image"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG source"),
        (b"plain words", "not an image in a known format"),
        (b"\x89PNG\r\n\x1a\n", "not an image in a known format"),
        (encoded(Image.new("RGB", (16, 16))), "16×16 px is smaller than min_side 64"),
        (encoded(Image.new("RGB", (500, 100))), "500×100 px is a banner: longer than max_aspect 4 : 1"),
        (encoded(Image.new("1", (9000, 9000))), "9000×9000 is more than max_pixels 64000000 pixels"),
        (encoded(Image.new("1", (14000, 14000))), "more than max_pixels 64000000 pixels"),
        (encoded(Image.new("F", (80, 80)), "TIFF"), "pixels of mode F have no known range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_named_reject(data, expected):
    assert expected in reason(data)


def test_limits_are_inclusive():
    settings = ConvertSettings(min_side=64, max_aspect=4)
    assert convert(encoded(Image.new("RGB", (256, 64))), settings).width == 256
    assert "smaller" in reason(encoded(Image.new("RGB", (256, 63))), settings)
    assert "banner" in reason(encoded(Image.new("RGB", (257, 64))), settings)


def test_large_picture_shrinks_with_its_shape_and_small_never_grows():
    made = convert(encoded(Image.new("RGB", (3000, 1000), BLUE)), SETTINGS)
    assert (made.width, made.height) == (1024, 341)
    assert Image.open(io.BytesIO(made.jpeg)).size == (1024, 341)
    assert convert(encoded(Image.new("RGB", (70, 70), BLUE)), SETTINGS).width == 70


def test_pixel_hash_is_of_the_source_and_tells_shape():
    big = noise((1500, 1200))
    small = convert(encoded(big), ConvertSettings(max_side=256))
    assert small.pixel_sha256 == convert(encoded(big, "TIFF"), SETTINGS).pixel_sha256
    flat = [Image.new("RGB", size, RED) for size in ((100, 200), (200, 100))]
    assert len({convert(encoded(image), SETTINGS).pixel_sha256 for image in flat}) == 2


def test_jpeg_is_plain_and_the_same_every_time():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a camera's secret")
    exif = Image.Exif()
    exif[0x010F] = "a camera's secret"
    data = encoded(noise(), "PNG", pnginfo=info, exif=exif, dpi=(300, 300))
    first, second = convert(data, SETTINGS), convert(data, SETTINGS)
    assert first == second
    image = Image.open(io.BytesIO(first.jpeg))
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
    assert not image.info.get("progressive")
    assert b"secret" not in first.jpeg
    assert b"Exif" not in first.jpeg
    # a JPEG source's comment must not travel either
    assert b"secret" not in convert(encoded(noise(), "JPEG", comment=b"secret"), SETTINGS).jpeg


def test_what_older_versions_remembered_is_still_known():
    remembered = {"key": "a" * 64, "jpeg_key": "b" * 64, "width": 8, "height": 8, "frames": 1, "dhash": "0" * 16}
    assert Converted.model_validate(remembered).jpeg_key == "b" * 64


def test_a_batch_survives_bad_files(tmp_path):
    store = Store(str(tmp_path))
    files = [encoded(Image.new("RGB", (80, 80), BLUE)), b"", encoded(Image.new("RGB", (16, 16)))]
    keys = [store.put(data) for data in files]
    converted = [done for _, done in convert_each(keys, SETTINGS, store)]
    assert {item.key for item in converted} == set(keys)
    originals = [Original(image=wiki_image(f"File:{i}.png", f"{i:040x}"), key=key) for i, key in enumerate(keys)]
    jpegs, rejects = to_jpegs(originals, converted)
    assert [jpeg.original.image.title for jpeg in jpegs] == ["File:0.png"]
    assert store.read(jpegs[0].key)[:2] == b"\xff\xd8"
    assert [(r.title, r.stage) for r in rejects] == [("File:1.png", "convert"), ("File:2.png", "convert")]
    assert rejects[0].reason == "empty file (0 bytes)"


def test_what_is_kept_of_a_picture_is_its_own(tmp_path):
    store = Store(str(tmp_path))
    frames = [Image.new("RGB", (90, 70), colour) for colour in (BLUE, RED)]
    key = store.put(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    [(_, made)] = convert_each([key], SETTINGS, store)
    assert (made.width, made.height, made.frames, made.reason) == (90, 70, 2, None)
    whole = convert(store.read(key), SETTINGS)
    assert (made.pixel_sha256, store.read(made.jpeg_key or "")) == (whole.pixel_sha256, whole.jpeg)


def test_the_reason_of_a_damaged_file_is_one_line_or_the_name_of_the_error():
    def raises(error: Exception):
        def decode():
            raise error

        return decode

    for error, reason in ((OSError("cut  off\nin the middle"), "cut off in the middle"), (ValueError(), "ValueError")):
        with pytest.raises(ConvertReject, match=f"^damaged: {reason}$"):
            _guarded(raises(error))


def test_a_damaged_original_stops_the_rest_but_loses_nothing_that_was_done(tmp_path):
    store = Store(str(tmp_path))
    keys = [store.put(encoded(Image.new("RGB", (80, 80 + i), BLUE))) for i in range(8)]
    store.path(keys[3]).write_bytes(b"cut")
    done: list[str] = []
    with pytest.raises(StoreError, match=keys[3]):
        done.extend(key for key, _ in convert_each(keys, SETTINGS.model_copy(update={"threads": 1}), store))
    assert {*keys[:3]} <= {*done} <= {*keys} - {keys[3]}


def wiki_image(title: str, sha1: str) -> WikiImage:
    return WikiImage(
        title=title,
        sha1=sha1,
        url=f"https://wiki.example/{title}",
        page_url=f"https://wiki.example/wiki/{title}",
        mime="image/png",
        width=80,
        height=80,
        size=1,
        timestamp="2024-01-01T00:00:00Z",
        uploader="Ann",
        license="CC BY-SA 4.0",
    )

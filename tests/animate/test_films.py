"""Films as a viewer sees them: order, labels, timing, size; and the same bytes again."""

import hashlib
import io
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from flows.common.settings import ROOT
from tasks.animate.encode import film
from tasks.animate.films import denoising_film, dial_film, training_film
from tasks.animate.labels import PAPER, write
from tasks.animate.layout import fit
from tasks.animate.settings import AnimateSettings
from tasks.animate.shots import AnimateError, dial_shots, frames_of, training_shots
from tasks.common.files import file_name
from tasks.common.records import Animation, Between
from tasks.common.store import Store

SETTINGS = AnimateSettings(
    tile=64, sheet_tile=32, frame_ms=300, hold_last_ms=2000, formats=("gif", "avif", "webp", "mp4")
)


def opened(animation: Animation, ending: str, store: Store) -> Image.Image:
    file = next(file for file in animation.files if file.path.endswith(ending))
    data = store.read(file.key)
    assert len(data) == file.bytes
    return Image.open(io.BytesIO(data))


def played(image: Image.Image) -> list[tuple[np.ndarray, int]]:
    """Each frame's pixels and its milliseconds."""
    frames = []
    for i in range(getattr(image, "n_frames", 1)):
        image.seek(i)
        pixels = np.asarray(image.convert("RGB")).astype(int)
        frames.append((pixels, int(image.info["duration"])))
    return frames


def has_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels - np.array(colour)).max(axis=2) <= 6).mean() > 0.01)


@pytest.mark.parametrize("ending", ["gif", "avif", "webp"])
def test_a_training_film_shows_the_base_model_first_then_every_epoch_with_all_seeds(store, draw, ending):
    samples = [draw("a cat", seed, epoch) for epoch in (4, 0, 2) for seed in (0, 1)]
    image = opened(training_film("a cat", samples, [], SETTINGS, store), ending, store)
    frames = played(image)
    assert [ms for _, ms in frames] == [1000, 300, 2000]
    assert image.info.get("loop", 0) == 0  # for ever, as an AVIF always does
    for (pixels, _), epoch in zip(frames, (0, 2, 4), strict=True):
        assert has_colour(pixels, (20 * epoch, 0, 90))
        assert has_colour(pixels, (20 * epoch, 60, 90))


def test_every_epoch_is_labelled_on_its_frame(store, draw):
    """The same pictures at two epochs still make two frames, because what is written on them differs."""
    one, other = draw("a cat", 0, 0), draw("a cat", 0, 0).model_copy(update={"epoch": 2})
    first, second = (
        np.asarray(f).astype(int)
        for f in frames_of("a cat", training_shots("a cat", [one, other], []), SETTINGS, store)
    )
    differs = np.argwhere(np.abs(first - second).max(axis=2) > 40)
    assert len(differs) > 20
    assert differs[:, 0].max() < 40  # above the pictures only


@pytest.mark.parametrize("kind", ["gif", "avif", "webp"])
def test_equal_neighbours_become_one_frame_and_the_film_keeps_its_length(kind):
    red, blue = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")
    frames = played(
        Image.open(io.BytesIO(film([red, red.copy(), blue, blue.copy(), red], [100, 200, 50, 50, 600], kind)))
    )
    assert [ms for _, ms in frames] == [300, 100, 600]
    assert has_colour(frames[1][0], (0, 0, 255)) or has_colour(frames[1][0], (0, 0, 254))


def test_the_same_pictures_give_the_same_bytes(store, draw):
    samples = [draw("a cat", seed, epoch) for epoch in (0, 2) for seed in (0, 1)]
    assert training_film("a cat", samples, [], SETTINGS, store) == training_film(
        "a cat", sorted(samples, key=lambda s: -s.epoch), [], SETTINGS, store
    )


def test_the_sheet_shows_every_epoch_and_seed(store, draw):
    samples = [draw("a cat", seed, epoch) for epoch in (0, 2, 4) for seed in (0, 1, 2)]
    pixels = np.asarray(opened(training_film("a cat", samples, [], SETTINGS, store), "png", store)).astype(int)
    for epoch in (0, 2, 4):
        for seed in (0, 1, 2):
            assert (np.abs(pixels - np.array((20 * epoch, 60 * seed, 90))).max(axis=2) == 0).sum() == 32 * 32


def test_a_film_with_a_hole_says_which_picture_is_missing(store, draw):
    samples = [draw("a cat", 0, 0), draw("a cat", 1, 0), draw("a cat", 0, 2)]
    with pytest.raises(AnimateError, match='"a cat" has no picture for epoch 2, seed 1'):
        training_film("a cat", samples, [], SETTINGS, store)
    with pytest.raises(AnimateError, match='no picture of "a dog"'):
        training_film("a dog", samples, [], SETTINGS, store)
    with pytest.raises(AnimateError, match='no denoising picture of "a cat"'):
        denoising_film("a cat", [], SETTINGS, store)


def test_the_denoising_film_holds_its_last_picture_and_has_a_still(store, draw):
    keys = [draw("a cat", 0, epoch).key for epoch in range(6)]
    animation = denoising_film("a cat", keys, SETTINGS, store)
    frames = played(opened(animation, "webp", store))
    assert [ms for _, ms in frames] == [1000, 150, 150, 150, 150, 2000]
    assert has_colour(frames[0][0], (0, 0, 90))
    assert has_colour(frames[-1][0], (100, 0, 90))
    assert opened(animation, "png", store).width > 6 * 32
    assert [file.path for file in animation.files] == [
        "denoising/a-cat.gif",
        "denoising/a-cat.avif",
        "denoising/a-cat.webp",
        "denoising/a-cat.mp4",
        "denoising/a-cat.png",
    ]


@pytest.mark.parametrize(("size", "tile", "width"), [(64, 256, 256), (64, 200, 192), (512, 256, 256), (48, 32, 32)])
def test_pictures_are_enlarged_by_whole_factors_and_reduced_to_fit(size, tile, width):
    assert fit(Image.new("RGB", (size, size)), tile).size == (width, width)


def test_a_prompt_too_long_for_the_frame_is_cut_inside_it():
    frame = Image.new("RGB", (200, 40), PAPER)
    write(frame, (10, 30), "a very long prompt " * 20, (16, "black"), 180)
    pixels = np.asarray(frame.convert("L"))
    assert (pixels[:, 10:190] < 100).any()
    assert not (pixels[:, 192:] < 200).any()


def test_prompts_that_share_their_words_do_not_share_a_file():
    assert file_name("a cat") == "a-cat"
    assert len({file_name(prompt) for prompt in ("a cat", "a cat!", "A cat", "猫", "犬")}) == 5


def test_a_time_gif_cannot_keep_is_refused():
    with pytest.raises(ValidationError):
        AnimateSettings(frame_ms=125)


def between(draw, strength: float, seed: int, since: int = 0, epoch: int = 8) -> Between:
    """A picture whose colour says how far it is."""
    key = draw("a cat", seed, round(since + (epoch - since) * strength)).key
    return Between(prompt="a cat", seed=seed, since=since, epoch=epoch, strength=strength, key=key)


def test_a_dial_film_goes_from_the_base_model_to_the_snapshot_whatever_order_it_comes_in(store, draw):
    pictures = [between(draw, t, seed) for t in (1.0, 0.0, 0.75, 0.25, 0.5) for seed in (0, 1)]
    animation = dial_film("a cat", [*pictures, pictures[0].model_copy(update={"prompt": "a dog"})], SETTINGS, store)
    assert (animation.kind, animation.frames) == ("dial", 5)
    assert animation.files[0].path == "dial/a-cat.gif"
    frames = played(opened(animation, "webp", store))
    assert [ms for _, ms in frames] == [1000, 100, 100, 100, 2000]
    for (pixels, _), epoch in zip(frames, (0, 2, 4, 6, 8), strict=True):
        assert has_colour(pixels, (20 * epoch, 0, 90))
        assert has_colour(pixels, (20 * epoch, 60, 90))
    assert [shot.label for shot in dial_shots("a cat", pictures)] == [
        "base model", "25 % of epoch 8", "50 % of epoch 8", "75 % of epoch 8", "epoch 8",
    ]  # fmt: skip


def test_a_training_film_has_what_was_drawn_between_two_epochs_between_them(store, draw):
    samples = [draw("a cat", seed, epoch) for epoch in (0, 2, 6) for seed in (0, 1)]
    tweens = [between(draw, 0.5, seed, since, epoch) for since, epoch in ((2, 6), (0, 2)) for seed in (1, 0)]
    shots = training_shots("a cat", samples, tweens)
    assert [shot.label for shot in shots] == ["base model", "base model → epoch 2", "epoch 2", "epoch 2 → 6", "epoch 6"]
    keys = [[draw("a cat", seed, epoch).key for seed in (0, 1)] for epoch in (0, 1, 2, 4, 6)]
    assert [list(shot.keys) for shot in shots] == keys
    assert [shot.progress for shot in shots] == [0, 1 / 6, 2 / 6, 4 / 6, 1]
    twice = SETTINGS.model_copy(update={"tween": 1})
    animation = training_film("a cat", samples, tweens, twice, store)
    assert [ms for _, ms in played(opened(animation, "webp", store))] == [1000, 150, 150, 150, 2000]


def test_a_dial_film_with_a_hole_says_which_picture_is_missing(store, draw):
    pictures = [between(draw, 0, 0), between(draw, 0, 1), between(draw, 1, 0)]
    with pytest.raises(AnimateError, match='"a cat" has no picture for seed 1 at 1 of the way from base model to epoc'):
        dial_film("a cat", pictures, SETTINGS, store)
    with pytest.raises(AnimateError, match='no picture of "a dog" for a dial film'):
        dial_film("a dog", pictures, SETTINGS, store)


def moving(side: int, count: int) -> list[Image.Image]:
    """A square that goes from left to right over a gradient, and turns from red to blue."""
    ground = np.linspace(40, 220, side)[:, None, None].repeat(side, 1).repeat(3, 2).astype(np.uint8)
    frames = []
    for i in range(count):
        pixels, at = ground.copy(), round(i / count * (side - 8))
        pixels[side // 3 : side // 2, at : at + 8] = (255 - 255 * i // count, 30, 255 * i // count)
        frames.append(Image.fromarray(pixels))
    return frames


@pytest.mark.parametrize("kind", ["gif", "avif", "webp", "mp4"])
def test_the_same_frames_are_the_same_bytes_in_another_process(kind, tmp_path):
    """Whatever that process does otherwise: no time, no number of threads, no name is in the file."""
    code = f"""
import hashlib
from flows.common.settings import ROOT
from tasks.animate.encode import film
from tests.animate.test_films import moving
print(hashlib.sha256(film(moving(61, 6), [200, 50, 50, 50, 50, 400], {kind!r})).hexdigest())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "TZ": "Asia/Tokyo"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == hashlib.sha256(film(moving(61, 6), [200, 50, 50, 50, 50, 400], kind)).hexdigest()


def test_an_mp4_shows_every_frame_for_its_time_and_near_enough():
    """Read by PyAV: 61 px become 62, and each frame is there as often as its time has beats."""
    frames, times = moving(61, 4), [200, 50, 50, 400]
    with av.open(io.BytesIO(film(frames, times, "mp4")), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 20)
        shown = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(stream)]
    assert shown[0].shape == (62, 62, 3)
    wanted = [np.asarray(frame).astype(float) for frame, ms in zip(frames, times, strict=True) for _ in range(ms // 50)]
    assert len(shown) == len(wanted)
    errors = [np.mean((one[:61, :61] - other) ** 2) for one, other in zip(shown, wanted, strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 28  # dB; of colours at half the resolution


def test_films_that_only_a_player_shows_are_refused():
    with pytest.raises(ValidationError, match="add gif, avif or webp"):
        AnimateSettings(formats=("mp4",))

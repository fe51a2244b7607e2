"""`wikistyle draw`, by the installed command from another folder: a finished run draws any prompt, its own again."""

import io
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flows.common.report import Finetuned, Shown
from flows.common.run_folder import write_run
from flows.common.settings import load_profile
from tasks.common.model_id import model_identity
from tasks.common.records import Sample, Training
from tasks.common.store import Store
from tasks.diffusion.pipeline import load_base, put_in
from tasks.sample.draw import draw_snapshot
from tests.commands.installed import SCRIPT, shell
from tests.sample.conftest import base
from tests.sample.tiny import snapshot

__all__ = ["base"]
pytestmark = pytest.mark.slow


class World:
    """A finished run of two epochs, drawn as a showcase does, and the command in a folder beside it."""

    def __init__(self, base: str, folder: Path):
        self.root, self.here = folder, folder / "elsewhere"
        self.store = Store(str(folder / "store"))
        small = ['sample.prompts=["a cat", "a red car"]', "sample.seeds=[0, 3]", "sample.num_inference_steps=4"]
        settings = load_profile("sample", [f"finetune.base_model={base}", *small])
        loaded = load_base(base, None, "cpu", torch.float32)
        own = loaded.pipe.unet.state_dict()
        moved = {name: value + 0.3 * value.std(unbiased=False) for name, value in own.items()}
        snapshots = (snapshot(self.store, 0), snapshot(self.store, 2, unet=moved))
        self.samples: list[Sample] = []
        for one in snapshots:
            put_in(loaded, one, self.store)
            self.samples += draw_snapshot(loaded, one.epoch, settings.sample, self.store)
        training = Training(
            base_model=base, base_revision=None, base_identity=model_identity(base, None), dataset_fingerprint="f",
            snapshots=snapshots, losses=(), psnr_before=None, psnr_after=None, truncated_captions=0, images_trained=1,
            images_held_out=0,
        )  # fmt: skip
        shown = Shown(samples=tuple(self.samples), denoising=(), animations=(), stages=())
        self.run = folder / "runs" / "one"
        write_run(self.run, settings, None, Finetuned(training=training, stages=()), shown, self.store)

    def draw(self, *words: str) -> CompletedProcess[str]:
        places: dict[str, Any] = {
            "WIKISTYLE_STORE": str(self.root / "store"),
            "WIKISTYLE_RUNS": str(self.root / "runs"),
        }
        return shell(f"{SCRIPT} draw {' '.join(words)}", self.here, **places)

    def picture(self, *words: str) -> bytes:
        done = self.draw(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return (self.here / done.stdout.strip()).read_bytes()

    def sample(self, prompt: str, seed: int, epoch: int) -> bytes:
        (key,) = [s.key for s in self.samples if (s.prompt, s.seed, s.epoch) == (prompt, seed, epoch)]
        return self.store.read(key)


@pytest.fixture(scope="module")
def world(base: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("draw")
        patch.setenv("WIKISTYLE_STORE", str(folder / "store"))
        return World(base, folder)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def off(one: bytes, other: bytes) -> int:
    return int(np.abs(pixels(one) - pixels(other)).max())


def test_what_the_run_drew_is_drawn_again_bit_for_bit(world):
    found = world.picture("'a cat'", "--epoch 2 --strength 1 --seed 3")
    assert found == world.sample("a cat", 3, 2)
    assert world.picture("'a cat'", "--seed 3 --run", str(world.run), "--out own.png") == found
    assert (world.here / "own.png").read_bytes() == found
    assert world.picture("'a cat'", "--epoch 0 --seed 3") == world.sample("a cat", 3, 0)


def test_a_picture_drawn_anew_is_the_runs_own(world):
    """Strength 0 is never looked up: it is the base model's own picture, but for the rounding of another batch."""
    assert off(world.picture("'a cat'", "--strength 0 --seed 3"), world.sample("a cat", 3, 0)) <= 1
    (kept,) = (world.run / "samples" / "epoch-0002").glob("a-red-car-seed-3.png")
    data = kept.read_bytes()
    kept.write_bytes(b"changed by hand")
    try:
        assert off(world.picture("'a red car'", "--seed 3"), data) <= 1
    finally:
        kept.write_bytes(data)


def test_strength_seed_and_prompt_tell_and_the_picture_says_them(world):
    words = ["'a house'", "--epoch 2 --strength 0.6 --seed 3"]
    half = world.picture(*words)
    assert half == world.picture(*words)
    others = [["'a house'", "--strength 1 --seed 3"], ["'a house'", "--strength 0.6 --seed 4"]]
    assert all(off(half, world.picture(*other)) > 1 for other in others)
    said = Image.open(io.BytesIO(half)).info["parameters"]
    assert said.startswith("a house\nSteps: 4, ")
    assert "Seed: 3, " in said
    assert "Epoch: 2, Strength: 0.6, " in said
    assert (world.here / "a-house-epoch-2-strength-0.6-seed-3.png").read_bytes() == half


def test_a_picture_of_ones_own_is_where_it_begins(world):
    """diffusers' own img2img: what begins at a red picture is not what begins at a green one."""
    for colour in ("red", "green"):
        Image.new("RGB", (60, 40), colour).save(world.here / f"{colour}.jpg")
    red, green = (world.picture("'a cat'", f"--from {c}.jpg --out from-{c}.png") for c in ("red", "green"))
    assert off(red, green) > 1
    assert off(red, world.sample("a cat", 0, 2)) > 1
    assert pixels(red).shape == (32, 32, 3)
    assert red == world.picture("'a cat'", "--from red.jpg --out again.png")
    assert "Denoising strength: 0.6" in Image.open(io.BytesIO(red)).info["parameters"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("'a cat' --run nowhere", "run nowhere has no summary.json here or in .*/runs/ \\(there are: latest, one\\)"),
        ("'a cat' --epoch 1", "run one has no snapshot of epoch 1; there are 0, 2: name one of these"),
        ("'a cat' --from gone.png", "gone.png can't be read as a picture \\(No such file or directory\\); give a PNG"),
        ("'a cat' --from note.txt", "note.txt can't be read as a picture \\(UnidentifiedImageError\\); give a PNG"),
        ("'a cat' --out gone/a.png", "gone/a.png can't be written: "),
        ("' '", "the prompt is empty; say what to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(world, words, says):
    world.here.mkdir(exist_ok=True)
    (world.here / "note.txt").write_text("no picture")
    done = world.draw(words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("wikistyle: ")
    assert re.search(says, line), line


def test_a_strength_too_far_is_wrong_usage(world):
    done = world.draw("'a cat' --strength 1.3")
    assert done.returncode == 2
    assert "1.25" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_only_collected_has_nothing_to_draw_with(world, base):
    write_run(world.root / "runs" / "collected", load_profile("sample"), None, None, None, world.store)
    done = world.draw("'a cat' --run collected")
    assert done.returncode == 2
    assert "run collected has no model: it collected only" in done.stderr

"""Frames between snapshots: the ends are the snapshots' own pictures, the steps are even, and nothing else is kept."""

import io
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flows.common.settings import ROOT
from tasks.common.records import Between, Sample, Snapshot
from tasks.common.store import Store
from tasks.diffusion.between import read_ends
from tasks.diffusion.pipeline import LoadedPipeline, load_base, put_in
from tasks.diffusion.snapshots import decoder_parameters
from tasks.sample.between import Frame, Way, draw_dial, draw_tweens, spread
from tasks.sample.draw import draw_snapshot
from tasks.sample.settings import SampleSettings
from tests.sample.tiny import snapshot

SETTINGS = SampleSettings(
    prompts=("a cat", "a red car"), seeds=(0, 7), num_inference_steps=3, guidance_scale=4, dial_frames=9, batch_size=4
)  # fmt: skip


@pytest.fixture
def loaded(base: str) -> LoadedPipeline:
    return load_base(base, None, "cpu", torch.float32)


def trained(loaded: LoadedPipeline, store: Store, epoch: int, by: float) -> Snapshot:
    unet = {name: value * (1 + by) for name, value in loaded.pipe.unet.state_dict().items()}
    decoder = {name: value * (1 + by / 4) for name, value in decoder_parameters(loaded.pipe.vae).items()}
    return snapshot(store, epoch, unet, decoder)


def drawn(loaded: LoadedPipeline, one: Snapshot, store: Store) -> list[Sample]:
    put_in(loaded, one, store)
    return list(draw_snapshot(loaded, one.epoch, SETTINGS, store))


def pixels(store: Store, key: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(store.read(key)))).astype(int)


def of(prompt: str, samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.prompt == prompt]


def frames(pictures: list[Between], store: Store) -> list[tuple[float, np.ndarray]]:
    strengths = sorted({picture.strength for picture in pictures})
    return [(t, np.stack([pixels(store, p.key) for p in pictures if p.strength == t])) for t in strengths]


def test_a_dial_begins_and_ends_with_the_snapshots_own_pictures_bit_for_bit(loaded, store):
    first, last = snapshot(store, 0), trained(loaded, store, 4, 0.6)
    begin, end = drawn(loaded, first, store), drawn(loaded, last, store)
    way = Way(loaded, read_ends(loaded, first, last, store), 0, 4, store)
    for prompt in SETTINGS.prompts:
        dial = draw_dial(way, (of(prompt, begin), of(prompt, end)), SETTINGS)
        assert len(dial) == 9 * 2
        assert [(p.seed, p.key) for p in dial[:2]] == [(s.seed, s.key) for s in of(prompt, begin)]
        assert [(p.seed, p.key) for p in dial[-2:]] == [(s.seed, s.key) for s in of(prompt, end)]
        assert [p.strength for p in dial] == sorted(p.strength for p in dial)
        assert len({p.key for p in dial}) == len(dial)
        assert draw_dial(way, (of(prompt, begin), of(prompt, end)), SETTINGS) == dial


@pytest.mark.parametrize("strength", [0, 1])
def test_weights_put_in_for_an_end_draw_the_snapshots_own_pictures(strength, loaded, store):
    """The film takes an end's samples as they are; drawn anew as a frame, they are the same pixels."""
    from tasks.sample.between import _draw

    first, last = trained(loaded, store, 2, 0.2), trained(loaded, store, 4, 0.6)
    ends = (drawn(loaded, first, store), drawn(loaded, last, store))
    way = Way(loaded, read_ends(loaded, first, last, store), 2, 4, store)
    wanted = [(prompt, seed) for prompt in SETTINGS.prompts for seed in SETTINGS.seeds]
    _draw(way, 0.5, wanted, SETTINGS)
    for (record, _), sample in zip(_draw(way, strength, wanted, SETTINGS), ends[strength], strict=True):
        assert np.array_equal(pixels(store, record.key), pixels(store, sample.key))


def test_frames_between_neighbours_are_evenly_between_them(loaded, store):
    first, second = trained(loaded, store, 2, 0.2), trained(loaded, store, 4, 0.6)
    way = Way(loaded, read_ends(loaded, first, second, store), 2, 4, store)
    tweens = draw_tweens(way, 3, SETTINGS)
    assert [(p.prompt, p.seed, p.since, p.epoch, p.strength) for p in tweens] == [
        (prompt, seed, 2, 4, t) for t in (0.25, 0.5, 0.75) for prompt in SETTINGS.prompts for seed in SETTINGS.seeds
    ]
    own = load_base(loaded.base_model, None, "cpu", torch.float32)

    def middle(named: dict[str, torch.Tensor], one: float, other: float) -> dict[str, torch.Tensor]:
        return {n: (v * one).half().float() / 2 + (v * other).half().float() / 2 for n, v in named.items()}

    own.pipe.unet.load_state_dict(middle(own.pipe.unet.state_dict(), 1.2, 1.6))
    decoder: dict[str, torch.Tensor] = {**decoder_parameters(own.pipe.vae)}
    own.pipe.vae.load_state_dict(middle(decoder, 1.05, 1.15), strict=False)
    for picture, sample in zip(tweens[4:8], draw_snapshot(own, 3, SETTINGS, store), strict=True):
        assert np.abs(pixels(store, picture.key) - pixels(store, sample.key)).max() <= 1


def curve(change: np.ndarray) -> list[float]:
    """The steps of 31 frames of a picture of one pixel whose grey at strength i/1024 is `change[i]`."""

    def draw(strength: float) -> Frame:
        value = np.interp(strength, np.linspace(0, 1, len(change)), change)
        return Frame(strength, (), np.full((1, 1, 1, 3), round(value), np.int32))

    found = spread(draw(0), draw(1), 31, draw)
    assert [frame.strength for frame in found] == sorted({frame.strength for frame in found})
    return [abs(int(b.pixels[0, 0, 0, 0]) - int(a.pixels[0, 0, 0, 0])) for a, b in pairwise(found)]


at = np.linspace(0, 1, 1025)
CURVES = {
    "even": at,
    "late": at**4,
    "early": at**0.25,
    "a jump": 1 / (1 + np.exp(-(at - 0.3) * 60)),
    "two jumps": 1 / (1 + np.exp(-(at - 0.2) * 90)) + 1 / (1 + np.exp(-(at - 0.8) * 30)),
}


@pytest.mark.parametrize("name", CURVES)
def test_steps_are_even_however_the_picture_changes(name):
    change = CURVES[name]
    steps = curve((change - change[0]) / (change[-1] - change[0]) * 20_000)
    assert sum(steps) == pytest.approx(20_000, abs=1)
    assert max(steps) <= 2 * np.median(steps)


def test_equal_ends_are_spread_over_the_whole_way():
    assert curve(np.zeros(1025)) == [0] * 30


def test_frames_are_kept_in_the_store_and_weights_are_not(loaded, store, tmp_path):
    last = trained(loaded, store, 4, 0.6)
    before = set(Path(store.root).rglob("*"))
    way = Way(loaded, read_ends(loaded, None, last, store), 0, 4, store)
    keys = {picture.key for picture in draw_tweens(way, 2, SETTINGS)}
    new = {path.name for path in set(Path(store.root).rglob("*")) - before if path.is_file()}
    assert new == keys


DRAW = """
import sys, torch
from tasks.common.records import Sample, Snapshot
from tasks.common.store import Store
from tasks.diffusion.between import read_ends
from tasks.diffusion.pipeline import load_base
from tasks.sample.between import Way, draw_dial
from tasks.sample.settings import SampleSettings

base, root, settings, *records = sys.argv[1:]
first, last, *samples = [
    (Snapshot if '"weights"' in record else Sample).model_validate_json(record) for record in records
]
loaded, store = load_base(base, None, "cpu", torch.float32), Store(root)
way = Way(loaded, read_ends(loaded, first, last, store), first.epoch, last.epoch, store)
half = len(samples) // 2
for picture in draw_dial(way, (samples[:half], samples[half:]), SampleSettings.model_validate_json(settings)):
    print(picture.model_dump_json())
"""


@pytest.mark.slow
def test_sigkill_among_the_frames_changes_no_byte(base, loaded, store, tmp_path):
    """Killed when some are drawn, and started again: the same records, keys of the same bytes."""
    first, last = snapshot(store, 0), trained(loaded, store, 4, 0.6)
    ends = [of("a cat", drawn(loaded, one, store)) for one in (first, last)]
    shutil.copytree(store.root, tmp_path / "whole")
    records = [record.model_dump_json() for record in (first, last, *ends[0], *ends[1])]

    def start(root: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRAW, base, str(root), SETTINGS.model_dump_json(), *records]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def objects() -> int:
        return sum(path.is_file() for path in (Path(store.root) / "objects").rglob("*"))

    whole, _ = start(tmp_path / "whole").communicate()
    assert len(whole.splitlines()) == 9 * 2
    before, killed = objects(), start(Path(store.root))
    while objects() < before + 5 and killed.poll() is None:
        time.sleep(0.001)
    killed.kill()
    assert killed.communicate()[0] == ""
    again, _ = start(Path(store.root)).communicate()
    assert again == whole
    for line in whole.splitlines():
        key = Between.model_validate_json(line).key
        assert store.read(key) == Store(str(tmp_path / "whole")).read(key)

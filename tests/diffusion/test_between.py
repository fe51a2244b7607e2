"""Between two sets of weights: the straight line, its ends bit for bit, and nothing kept of it."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.common.errors import ModelError
from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.diffusion import between, pipeline
from tasks.diffusion.between import put_between, put_strength, read_ends
from tasks.diffusion.pipeline import LoadedPipeline, load_base, put_in
from tasks.diffusion.pipeline import part_weights as pipeline_weights
from tasks.diffusion.snapshots import decoder_parameters
from tests.sample.tiny import snapshot

Weights = dict[str, torch.Tensor]


def inside(loaded: LoadedPipeline) -> Weights:
    """Every tensor that draws, copied."""
    parts = {"unet": loaded.pipe.unet, "vae": loaded.pipe.vae, "text": loaded.pipe.text_encoder}
    return {
        f"{part}.{name}": value.clone() for part, model in parts.items() for name, value in model.state_dict().items()
    }


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def trained(loaded: LoadedPipeline, store: Store, epoch: int, decoder: bool = True) -> Snapshot:
    """A snapshot that chance trained."""
    generator = torch.Generator().manual_seed(epoch)

    def moved(named: Any) -> Weights:
        return {name: value + torch.randn(value.shape, generator=generator) for name, value in named.items()}

    unet = moved(loaded.pipe.unet.state_dict())
    return snapshot(store, epoch, unet, moved(decoder_parameters(loaded.pipe.vae)) if decoder else None)


@pytest.fixture
def loaded(base: str) -> LoadedPipeline:
    return load_base(base, None, "cpu", torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("from_base", [True, False])
def test_the_ends_are_the_snapshots_own_weights_bit_for_bit(from_base, dtype, base, loaded, store):
    """Also in the precision of a GPU, and whatever was in the pipeline before."""
    first, second = trained(loaded, store, 2), trained(loaded, store, 4)
    start = snapshot(store, 0) if from_base else first
    fresh = load_base(base, None, "cpu", dtype)
    wanted = []
    for end in (start, second):
        put_in(fresh, end, store)
        wanted.append(inside(fresh))
    moving = load_base(base, None, "cpu", dtype)
    ends = read_ends(moving, None if from_base else first, second, store)
    for t in (0.5, 0, 1, 0.25, 1, 0.0, 1.25, 1.0):
        put_between(moving, ends, t)
        if t in (0, 1):
            assert same(inside(moving), wanted[int(t)]), t
    put_between(moving, ends, 0.5)
    put_in(moving, second, store)
    assert same(inside(moving), wanted[1])


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9, 1.25])
def test_between_is_the_plain_formula_in_fp32(t, loaded, store):
    first, second = trained(loaded, store, 2), trained(loaded, store, 4)
    put_between(loaded, read_ends(loaded, first, second, store), t)
    found = inside(loaded)
    parts = (("unet", first.unet, second.unet), ("vae", first.decoder, second.decoder))
    for part, one, other in parts:
        assert one
        assert other
        a, b = load_file(store.path(one.key)), load_file(store.path(other.key))
        for name in a:
            wanted = a[name].double() * (1 - t) + b[name].double() * t  # in double: our rounding is fp32's at most
            torch.testing.assert_close(found[f"{part}.{name}"].double(), wanted, rtol=1e-6, atol=1e-6)


def test_the_decoder_has_a_strength_of_its_own_and_the_encoder_none(loaded, store):
    before = inside(loaded)
    second = trained(loaded, store, 4)
    put_between(loaded, read_ends(loaded, None, second, store), 0.5, decoder_t=1)
    half = inside(loaded)
    put_in(loaded, second, store)
    whole = inside(loaded)
    for name, value in half.items():
        if name.startswith(("vae.decoder.", "vae.post_quant_conv.")):
            assert torch.equal(value, whole[name]), name
        elif name.startswith("unet."):
            assert not torch.equal(value, whole[name]) or torch.equal(before[name], whole[name]), name
        else:
            assert torch.equal(value, before[name]), name


def test_a_part_that_was_not_trained_stays_the_base_models(loaded, store):
    before = inside(loaded)
    put_between(loaded, read_ends(loaded, None, trained(loaded, store, 4, decoder=False), store), 0.3)
    found = inside(loaded)
    assert all(torch.equal(found[name], value) for name, value in before.items() if name.startswith("vae."))


def test_nothing_is_written_and_each_end_is_read_once(loaded, store):
    second = trained(loaded, store, 4)
    assert second.unet
    assert second.decoder
    ends = read_ends(loaded, None, second, store)
    root = store.path(second.unet.key).parents[2]
    for file in (second.unet, second.decoder):
        store.path(file.key).unlink()
    for t in (0.4, 0.8, 1):
        put_between(loaded, ends, t)
    assert [path for path in root.rglob("*") if path.is_file() and path.parent.parent.name == "objects"] == []


@pytest.mark.parametrize("strength", [0, 0.6, 1, 1.25])
def test_a_strength_of_a_snapshot_is_what_lies_between_and_no_end_is_read_in_vain(strength, loaded, store, monkeypatch):
    second = trained(loaded, store, 4)
    put_between(loaded, read_ends(loaded, None, second, store), strength)
    wanted = inside(loaded)
    put_in(loaded, trained(loaded, store, 6), store)
    read: list[str] = []
    for module in (between, pipeline):
        monkeypatch.setattr(module, "part_weights", lambda *given: read.append(given[2]) or pipeline_weights(*given))
    put_strength(loaded, second, strength, store)
    assert same(inside(loaded), wanted)
    assert read == (["unet", "vae"] if strength in (0, 1) else ["unet", "unet", "vae", "vae"])


@pytest.mark.parametrize("t", [-0.1, 1.26, float("nan")])
@pytest.mark.parametrize("part", ["unet", "decoder"])
def test_a_strength_out_of_range_is_refused_in_one_line(t, part, loaded, store):
    ends = read_ends(loaded, None, trained(loaded, store, 4), store)
    with pytest.raises(ModelError, match=r"strength \S+ is out of range; give one from 0"):
        put_between(loaded, ends, *((t,) if part == "unet" else (1.0, t)))


def test_two_sets_that_do_not_fit_each_other_are_refused(loaded, store):
    odd = snapshot(store, 2, unet={"stray": torch.zeros(1)})
    with pytest.raises(ModelError, match="no way between the two snapshots: their unet weights differ"):
        read_ends(loaded, None, odd, store)

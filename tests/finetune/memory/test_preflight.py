"""What a training needs is known, said and checked before it starts."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.common.errors import DatasetError, ModelError
from tasks.diffusion.loading import load_config
from tasks.finetune.errors import FinetuneError, ResourceError
from tasks.finetune.memory.prediction import GIB, disk_budget, sizes_of, standing_memory
from tasks.finetune.memory.preflight import check_disk, check_memory
from tasks.finetune.training.precision import Card
from tests.finetune.tiny import run, settings_for, states_of


def budget_of(base: str, settings, made: int = 0, state_bytes: int = 0):
    sizes = sizes_of(load_config("unet", base, None), load_config("vae", base, None), settings)
    return disk_budget(sizes, settings, 14, made, state_bytes)


def test_the_budget_is_what_a_training_writes(dataset, base, store, tmp_path):
    settings = settings_for(base)
    training = run(dataset, settings, tmp_path / "t", store)
    budget = budget_of(base, settings)
    snapshots = sum(file.bytes for s in training.snapshots for file in (s.unet, s.decoder) if file)
    states = sum(states_of(part, tmp_path / "t")[0].stat().st_size for part in ("unet", "decoder"))
    cache = sum(path.stat().st_size for path in (tmp_path / "t").glob("latents-*"))
    # Each file has a header beside the tensors, which weighs in a model this small.
    assert budget.snapshots < snapshots < 1.5 * budget.snapshots
    assert budget.state < 2 * states < 1.5 * budget.state
    assert budget.cache < cache < 1.1 * budget.cache


def test_what_a_resumed_training_wrote_already_is_not_asked_for_again(base):
    settings = settings_for(base)
    whole, rest = budget_of(base, settings), budget_of(base, settings, made=1, state_bytes=1000)
    assert rest.snapshots == whole.snapshots / 2
    assert rest.state == whole.state - 1000


def test_stable_diffusion_v1_takes_what_it_is_known_to_take():
    """860 M parameters; 20 bytes each in memory with a moving average, 12 a parameter on disk without it."""
    unet = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768}
    vae = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
    vae |= {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    settings = settings_for("x", resolution=512, epochs=12, snapshot_every=2)
    sizes = sizes_of(unet, vae, settings)
    assert sizes.unet == sizes.trained == 859_520_964
    assert sizes.decoder == 49_490_199
    assert sizes.latent_side == 64
    assert standing_memory(sizes, settings) == 20 * 859_520_964
    adapters = sizes_of(unet, vae, settings.model_copy(update={"lora_rank": 16}))
    assert adapters.unet == sizes.unet
    assert 2e6 < adapters.trained < 4e6
    assert 10 * GIB < disk_budget(sizes, settings, 800, 0, 0).snapshots < 11 * GIB


def test_the_budget_is_said_before_the_first_step(dataset, base, store, tmp_path):
    said = []
    run(
        dataset, settings_for(base, epochs=1), tmp_path / "t", store,
        report=lambda stage, step: said.append("step"), log=said.append,
    )  # fmt: skip
    assert said[0].startswith("disk: ")
    assert "step" in said


def test_too_little_disk_stops_it_in_one_line(tmp_path):
    check_disk({tmp_path: 1000, tmp_path / "not" / "yet" / "there": 1000})
    with pytest.raises(ResourceError, match="ask for fewer snapshots") as error:
        check_disk({tmp_path: 2**60, tmp_path / "b": 2**60})
    assert str(2 * 2**60 // GIB) in str(error.value)  # both are on one disk
    assert "\n" not in str(error.value)


def test_too_little_disk_is_found_before_anything_is_read(dataset, base, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.finetune.memory.preflight.free_bytes", lambda folder: (1, 1000))
    with pytest.raises(ResourceError, match="GiB free"):
        run(dataset, settings_for(base), tmp_path / "t", store)
    assert not (tmp_path / "t").exists()


def test_too_little_memory_stops_it_in_one_line():
    check_memory(GIB // 100, None)
    with pytest.raises(ResourceError, match="set lora_rank") as error:
        check_memory(2**60, None)
    assert "\n" not in str(error.value)
    with pytest.raises(ResourceError, match=r"holds 16\.0 GiB in memory, Tesla T4 has 15\.0 GiB"):
        check_memory(16 * GIB, Card("Tesla T4", bf16=False, memory=15 * GIB))


def test_a_card_too_small_for_one_stage_is_refused_before_anything_is_read(dataset, base, store, tmp_path, monkeypatch):
    """The tiny base holds 2 MB; a GPU's own context takes more than this card has."""
    monkeypatch.setattr("tasks.finetune.memory.preflight.find_card", lambda: Card("A5000", bf16=True, memory=GIB // 2))
    said = []
    with pytest.raises(ResourceError, match=r" needs 0\.8 GiB, A5000 has 0\.5 GiB; \w+") as error:
        run(dataset, settings_for(base), tmp_path / "t", store, log=said.append)
    assert "\n" not in str(error.value)
    assert said[1].startswith("memory: encoding captions 0.8, encoding pictures 0.8, unet step 0.8, ")
    assert not (tmp_path / "t").exists()


def test_too_little_memory_is_found_before_anything_is_read(dataset, base, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.finetune.memory.preflight.psutil.virtual_memory", lambda: SimpleNamespace(total=1000))
    with pytest.raises(ResourceError, match=r"this machine has 0\.0 GiB"):
        run(dataset, settings_for(base), tmp_path / "t", store)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("part", "change", "wrong"),
    [
        ("scheduler", {"prediction_type": "sample"}, "predicts sample"),
        ("unet", {"in_channels": 9}, "takes 9 channels, its vae makes 4"),
        ("unet", {"addition_embed_type": "text_time"}, "Stable Diffusion XL"),
    ],
)
def test_a_base_that_the_recipe_does_not_fit(part, change, wrong, dataset, base, store, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    (path,) = (tmp_path / "base" / part).glob("*config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=wrong) as error:
        run(dataset, settings_for(str(tmp_path / "base")), tmp_path / "t", store)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "t").exists()


def test_fewer_pictures_than_processes(dataset, base, store, tmp_path):
    with pytest.raises(DatasetError, match="can't be shared among 40 processes"):
        run(dataset, settings_for(base, processes=40), tmp_path / "t", store)


def test_an_optimizer_that_is_not_installed(dataset, base, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.finetune.memory.preflight.find_spec", lambda name: None)
    with pytest.raises(FinetuneError, match="pip install bitsandbytes"):
        run(dataset, settings_for(base, optimizer="adamw8bit"), tmp_path / "t", store)
    assert not Path(tmp_path / "t").exists()

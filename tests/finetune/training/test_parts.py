"""What a changed setting leaves as it is: parts made before are used again, and give what a fresh training gives."""

from collections import Counter
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.common.records import Training
from tasks.common.store import Store
from tasks.finetune.errors import Interrupted
from tasks.finetune.settings import FinetuneSettings
from tests.finetune.tiny import png, run, settings_for, states_of, write_dataset

pytestmark = pytest.mark.slow

# Of the dataset's pictures 13 are trained on: an epoch is 4 steps of 3 for the UNet, 3 of 4 for the decoder.


def trained(dataset: str, settings: FinetuneSettings, folder: Path, store: Store) -> tuple[Training, Counter[str]]:
    """The result, and how many steps of each part were done for it."""
    steps: Counter[str] = Counter()
    return run(dataset, settings, folder, store, report=lambda stage, step: steps.update([stage])), steps


@pytest.fixture
def after(dataset, base, store, tmp_path):
    """The steps done for a training when others were done in the same folder; what they gave is that of a fresh one."""

    def steps_after(*before: dict[str, Any], then: dict[str, Any]) -> tuple[int, int]:
        for changes in before:
            trained(dataset, settings_for(base, **changes), tmp_path / "shared", store)
        result, steps = trained(dataset, settings_for(base, **then), tmp_path / "shared", store)
        alone = tmp_path / f"fresh-{len(list(tmp_path.glob('fresh-*')))}"
        fresh = run(dataset, settings_for(base, **then), alone, Store(str(alone / "store")))
        assert result == fresh  # losses, figures, and the hashes of all weights
        return steps["unet"], steps["decoder"]

    return steps_after


@pytest.mark.parametrize(
    ("change", "decoder"),
    [({"decoder_batch_size": 2}, 6), ({"decoder_epochs": 2}, 6), ({"decoder_learning_rate": 1e-4}, 3)],
)
def test_a_decoder_setting_leaves_the_unet_as_it_is(change, decoder, after):
    assert after({}, then=change) == (0, decoder)


def test_a_training_without_decoder_is_one_with_it_cut_short(after):
    assert after({}, then={"decoder_epochs": 0}) == (0, 0)


@pytest.mark.parametrize(
    ("before", "then"), [((4, 2), (4, 4)), ((6, 1), (6, 2)), ((6, 2), (6, 4)), ((5, 1), (5, 2))], ids=str
)
def test_a_coarser_spacing_takes_some_of_the_snapshots_that_are_there(before, then, after):
    one, two = ({"epochs": epochs, "snapshot_every": every} for epochs, every in (before, then))
    assert after(one, then=two) == (0, 0)
    assert after(one | {"lr_schedule": "cosine"}, then=two | {"lr_schedule": "cosine"}) == (0, 0)


def test_more_epochs_go_on_from_the_state_that_is_there(after, tmp_path):
    assert after({"warmup_steps": 3}, then={"warmup_steps": 3, "epochs": 6}) == (8, 3)
    ends = [states_of("unet", tmp_path / folder)[0] for folder in ("shared", "fresh-0")]
    assert ends[0].read_bytes() == ends[1].read_bytes()  # fp32 weights, moments, EMA, losses


def test_more_epochs_go_on_after_an_epoch_off_the_beat(after):
    assert after({"epochs": 3}, then={"epochs": 5}) == (8, 3)


def test_fewer_epochs_on_the_beat_are_there_already(after):
    assert after({"epochs": 6}, then={"epochs": 4}) == (0, 0)  # the decoder's at 2 and 3 of its 3 steps, too


def test_a_cosine_of_another_length_is_another_training(after):
    cosine = {"lr_schedule": "cosine"}
    assert after(cosine, then=cosine | {"epochs": 6}) == (24, 3)


def test_a_finer_spacing_trains_again_from_the_start(after):
    assert after({"epochs": 4, "snapshot_every": 2}, then={"epochs": 4, "snapshot_every": 1}) == (16, 3)


def test_what_is_missing_before_a_state_is_trained_and_the_farthest_state_stays(after):
    whole, less = {"epochs": 6, "snapshot_every": 6}, {"epochs": 3, "snapshot_every": 3}
    assert after(whole, then=less) == (12, 0)
    assert after(then=whole | {"decoder_epochs": 2}) == (0, 6)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-4}, {"ema_decay": 0.5}, {"batch_size": 2}, {"lora_rank": 2}, {"min_snr_gamma": 5.0}]
)
def test_a_setting_of_the_unet_leaves_the_decoder_as_it_is(change, after):
    assert after({}, then=change)[1] == 0


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_grad_norm": 0.1}, {"mixed_precision": "bf16"}, {"held_out": 0}])
def test_a_setting_of_both_trains_both(change, after):
    assert all(after({}, then=change))


def test_other_captions_leave_decoder_and_latents_as_they_are(dataset, base, store, tmp_path):
    trained(dataset, settings_for(base), tmp_path / "t", store)
    latents = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "t").glob("latents-*")}
    other = write_dataset(tmp_path / "other", [png(i) for i in range(14)], [f"a blue house {i}" for i in range(14)])
    result, steps = trained(other, settings_for(base), tmp_path / "t", store)
    assert steps == {"unet": 16}
    assert result == run(other, settings_for(base), tmp_path / "fresh", store)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "t").glob("latents-*")} == latents


def test_pictures_changed_under_the_same_name_are_another_training(base, store, tmp_path):
    write_dataset(tmp_path / "d", [png(i) for i in range(14)])
    first = run(str(tmp_path / "d"), settings_for(base), tmp_path / "t", store)
    write_dataset(tmp_path / "d", [png(i) for i in range(14, 28)])
    second = run(str(tmp_path / "d"), settings_for(base), tmp_path / "t", store)
    assert second != first
    assert second == run(str(tmp_path / "d"), settings_for(base), tmp_path / "fresh", store)


def test_a_stopped_training_goes_on_when_more_is_asked_of_it(dataset, base, store, tmp_path):
    done: list[int] = []
    with pytest.raises(Interrupted):
        run(
            dataset, settings_for(base), tmp_path / "t", store,
            report=lambda stage, step: done.append(step.step), stopping=lambda: len(done) == 7,
        )  # fmt: skip
    result, steps = trained(dataset, settings_for(base, epochs=6, decoder_epochs=2), tmp_path / "t", store)
    assert steps == {"unet": 24 - 7, "decoder": 6}
    assert result == run(dataset, settings_for(base, epochs=6, decoder_epochs=2), tmp_path / "fresh", store)


def test_a_part_that_another_process_trains_is_waited_for(dataset, base, store, tmp_path):
    run(dataset, settings_for(base), tmp_path / "t", store)
    said: list[str] = []
    (folder,) = (tmp_path / "t").glob("unet-*")
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        with pytest.raises(Interrupted, match="waited for another"):
            run(
                dataset, settings_for(base, epochs=6), tmp_path / "t", store, log=said.append, stopping=lambda: True
            )  # fmt: skip
    assert [line for line in said if "waiting" in line] == [f"another process trains in {folder}; waiting for it"]
    assert trained(dataset, settings_for(base, epochs=6), tmp_path / "t", store)[1]["unet"] == 8


EARLY = (0, 0.05, 0.25, 0.5)


def test_snapshots_can_lie_closer_at_the_beginning(after, tmp_path, store):
    """Shares of the training fall on the nearest epochs; the snapshots are those of a training that made them all."""
    assert settings_for("b", epochs=20, snapshot_at=(0.02, 0.04, 0.1, 0.3, 1.0)).snapshot_epochs() == [0, 1, 2, 6, 20]
    assert settings_for("b", epochs=5, snapshot_every=2).snapshot_epochs() == [0, 2, 4, 5]
    assert after({"epochs": 4, "snapshot_every": 1}, then={"epochs": 4, "snapshot_at": EARLY}) == (0, 0)
    assert after({"epochs": 4, "snapshot_at": EARLY, "snapshot_every": 3}, then={"snapshot_at": EARLY}) == (0, 0)


def test_a_training_stopped_between_uneven_snapshots_goes_on_to_the_same_bits(dataset, base, store, tmp_path):
    settings, done = settings_for(base, epochs=6, snapshot_at=EARLY), []
    with pytest.raises(Interrupted):
        run(
            dataset, settings, tmp_path / "t", store,
            report=lambda stage, step: done.append(step.step), stopping=lambda: len(done) == 7,
        )  # fmt: skip
    result, steps = trained(dataset, settings, tmp_path / "t", store)
    assert steps["unet"] == 24 - 7
    assert [snapshot.epoch for snapshot in result.snapshots] == [0, 2, 3, 6]
    assert result == run(dataset, settings, tmp_path / "fresh", store)


@pytest.mark.parametrize("shares", [(0.5, 1.2), (-0.1,)])
def test_what_is_no_share_of_a_training_is_refused(shares):
    with pytest.raises(ValidationError, match=r"write 0\.1 for a tenth"):
        settings_for("b", snapshot_at=shares)

"""Damaged and lost files of a training: named in one line, set aside, made again; it ends in the same bytes."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tasks.common.records import Training
from tasks.common.store import Store
from tasks.finetune.errors import FinetuneError, Interrupted
from tasks.finetune.pages import preview_sheet
from tasks.finetune.process.job import TrainingJob
from tasks.finetune.process.launch import launch
from tasks.finetune.training.intact import keep
from tasks.finetune.training.preview_files import keep_previews, kept_previews
from tests.finetune.tiny import finished, run, settings_for, states_of

pytestmark = pytest.mark.slow

LENGTHS = {"epochs": 4, "decoder_epochs": 3, "checkpoint_steps": 2}
AT_UNET, AT_DECODER = 11, 5  # steps of 16 and of 9 after which the two stopped trainings stopped


def flipped(place: float) -> Callable[[bytes], bytes]:
    """One bit of the byte at this share of a file turned; under 1 it is a place within the first bytes."""

    def damage(data: bytes) -> bytes:
        at = min(int(place * len(data)) if place <= 1 else int(place), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]

    return damage


def cut(length: float) -> Callable[[bytes], bytes]:
    """The first bytes of a file, or this share of it."""
    return lambda data: data[: int(length * len(data)) if 0 < length < 1 else int(length)]


DAMAGES = {f"flip-{at}": flipped(at) for at in (0, 7.5, 9, 300, 0.3, 0.5, 0.9, 1)}
DAMAGES |= {f"cut-{at}": cut(at) for at in (0, 1, 8, 100, 0.5, 0.999)}
every_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@pytest.fixture(scope="module")
def begun(dataset, base, tmp_path_factory) -> Path:
    """Folders `unet`, `decoder` (stopped in that part) and `whole` (finished), each with a store within."""
    root = tmp_path_factory.mktemp("begun")

    def until(name: str, at: int) -> None:
        done: list[str] = []
        store = Store(str(root / name / "store"))
        with pytest.raises(Interrupted):
            run(
                dataset, settings_for(base, **LENGTHS), root / name, store,
                report=lambda stage, step: done.append(stage), stopping=lambda: done.count(name) == at,
            )  # fmt: skip

    until("unet", AT_UNET)
    until("decoder", AT_DECODER)
    run(dataset, settings_for(base, **LENGTHS), root / "whole", Store(str(root / "whole" / "store")))
    return root


@pytest.fixture
def go_on(begun, dataset, base, tmp_path):
    """Damage a copy of a folder and let the training go on: steps done and lines said. It must end as undisturbed."""

    def damaged(folder: str, how: Callable[[Path], None]) -> tuple[Counter[str], list[str]]:
        shutil.copytree(begun / folder, tmp_path / "t")
        how(tmp_path / "t")
        steps: Counter[str] = Counter()
        said: list[str] = []
        store = Store(str(tmp_path / "t" / "store"))
        result = run(
            dataset, settings_for(base, **LENGTHS), tmp_path / "t", store, log=said.append,
            report=lambda stage, step: steps.update([stage]),
        )  # fmt: skip
        whole = run(dataset, settings_for(base, **LENGTHS), begun / "whole", Store(str(begun / "whole" / "store")))
        assert result == whole
        assert all(store.has(key) for key in keys_of(result))
        for part in ("unet", "decoder"):
            ends = [states_of(part, root)[0].read_bytes() for root in (tmp_path / "t", begun / "whole")]
            assert ends[0] == ends[1]
        return steps, [line for line in said if not line.startswith("disk: ")]

    return damaged


def keys_of(training: Training) -> list[str]:
    return [file.key for snapshot in training.snapshots for file in (snapshot.unet, snapshot.decoder) if file]


def rewrite(path: Path, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))


@every_damage
def test_a_damaged_unet_state_costs_the_steps_since_the_one_before(damage, go_on, tmp_path):
    steps, said = go_on("unet", lambda folder: rewrite(states_of("unet", folder)[0], damage))
    assert steps["unet"] == 16 - 10  # the state of step 11 is damaged, that of step 10 is not
    assert len(said) == 2
    assert "step-000000011-" in said[0]
    assert "is damaged: its bytes are not those that were written; set aside as" in said[0]
    assert said[1].endswith("goes on from the state of step 10")
    assert len(list((tmp_path / "t").glob("unet-*/step-000000011-*.damaged"))) == 1


@every_damage
def test_a_damaged_decoder_state_costs_the_steps_since_the_one_before(damage, go_on):
    steps, said = go_on("decoder", lambda folder: rewrite(states_of("decoder", folder)[0], damage))
    assert steps == {"decoder": 9 - 4}
    assert ["is damaged" in line for line in said] == [True, False]


def test_all_states_damaged_it_starts_again_and_says_so(go_on):
    def all_of_them(folder: Path) -> None:
        for state in states_of("unet", folder):
            rewrite(state, flipped(0.5))

    steps, said = go_on("unet", all_of_them)
    assert steps["unet"] == 16
    assert len(said) == 3
    assert said[-1].endswith("it is trained from the start")


@every_damage
def test_damaged_latents_are_encoded_again(damage, go_on, tmp_path):
    steps, said = go_on("unet", lambda folder: rewrite(max(folder.glob("latents-*"), key=size), damage))
    assert steps["unet"] == 16 - 11
    assert len(said) == 1
    assert "latents-" in said[0]
    assert len(list((tmp_path / "t").glob("latents-*.damaged"))) == 1


def size(path: Path) -> int:
    return path.stat().st_size


@every_damage
def test_a_damaged_result_is_put_together_again_without_training(damage, go_on):
    def worded(data: bytes) -> bytes:
        """A word within the record, whose every byte counts: what is between them is blank."""
        at = data.index(b'"epoch"') + 1
        return data[:at] + damage(data[at:])

    steps, said = go_on("whole", lambda folder: rewrite(finished(folder)[0], worded))
    assert steps == {}
    assert len(said) == 1
    assert "training-" in said[0]
    assert "is damaged" in said[0]


def test_a_figure_changed_in_a_result_is_noticed(go_on):
    def other(data: bytes) -> bytes:
        return data.replace(b'"images_trained": 13', b'"images_trained": 31')

    steps, said = go_on("whole", lambda folder: rewrite(finished(folder)[0], other))
    assert steps == {}
    assert "its words are not those that were written" in said[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"step": "11"}, "progress is not one: step: Input should be a valid integer"),
        ({"step": 12}, "named after step 11, but holds step 12"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"snapshots": [{"step": 8, "train_loss": 1.0, "heldout_loss": None, "file": {
            "path": "unet/x", "key": "../../etc/passwd", "bytes": 3}}]}, "key is not 64 hex digits"),
    ],
)  # fmt: skip
def test_a_state_whose_words_are_wrong_is_set_aside_too(change, reason, go_on):
    def forge(folder: Path) -> None:
        state = states_of("unet", folder)[0]
        with safe_open(state, "pt") as opened:
            progress = json.loads(opened.metadata()["progress"]) | change
        forged = state.with_name("forged")
        save_file(load_file(state), forged, {"progress": json.dumps(progress)})
        state.unlink()
        keep(forged, "step-000000011")

    steps, said = go_on("unet", forge)
    assert steps["unet"] == 6
    assert reason in said[0]


def forget(folder: Path, epoch: int, part: str, begun: Path) -> None:
    """Delete the snapshot of an epoch from a folder's store."""
    _, training = read(begun)
    (key,) = [getattr(snapshot, part).key for snapshot in training.snapshots if snapshot.epoch == epoch]
    path = folder / "store" / "objects" / key[:2] / key
    path.unlink()


def read(begun: Path) -> tuple[str, Training]:
    from tasks.finetune.process.job import read_training

    return read_training(finished(begun / "whole")[0])


@pytest.mark.parametrize(
    ("folder", "epoch", "part", "expected"),
    [
        ("unet", 2, "unet", {"unet": 16, "decoder": 9}),  # no state from before epoch 2 is left
        ("whole", 2, "unet", {"unet": 16}),
        ("whole", 4, "unet", {}),  # the state of its step holds it
        ("whole", 2, "decoder", {"decoder": 9}),
        ("whole", 4, "decoder", {}),
    ],
)
def test_a_snapshot_lost_between_two_runs_is_made_again(folder, epoch, part, expected, go_on, begun):
    steps, said = go_on(folder, lambda copy: forget(copy, epoch, part, begun))
    assert steps == expected
    assert any("is lost from the store; it is made again" in line for line in said)


def lose_at(moment: tuple[str, int], root: Path, once: bool) -> Callable[..., None]:
    """A report that deletes everything of the store when this step is done: in a training, the snapshots so far."""
    lost: list[bool] = []

    def report(stage, step) -> None:
        if (stage, step.step) == moment and not (once and lost):
            lost.append(True)
            for path in (root / "objects").glob("*/*"):
                path.unlink()

    return report


@pytest.mark.parametrize("moment", [("unet", 9), ("unet", 15), ("unet", 16), ("decoder", 2), ("decoder", 8)])
def test_snapshots_lost_while_it_trains_are_there_at_the_end(moment, dataset, base, begun, tmp_path):
    store, said = Store(str(tmp_path / "store")), []
    result = run(
        dataset, settings_for(base, **LENGTHS), tmp_path / "t", store, log=said.append,
        report=lose_at(moment, tmp_path / "store", once=True),
    )  # fmt: skip
    assert result == read(begun)[1]
    assert all(store.has(key) for key in keys_of(result))
    assert any("were lost from the store" in line for line in said)


def test_a_store_that_loses_all_it_is_given_fails_the_stage_in_one_line(dataset, base, tmp_path):
    settings = settings_for(base, epochs=1, decoder_epochs=1)
    with pytest.raises(FinetuneError, match=r"was lost from the store .* while the training ran") as error:
        run(
            dataset, settings, tmp_path / "t", Store(str(tmp_path / "store")), stopping=lambda: bool(emptied(tmp_path))
        )  # fmt: skip
    assert "\n" not in str(error.value)
    assert not finished(tmp_path / "t")


def emptied(folder: Path) -> None:
    for path in (folder / "store" / "objects").glob("*/*"):
        path.unlink()


def test_two_processes_that_lost_snapshots_say_so_and_make_them_in_the_next_run(dataset, base, store, tmp_path):
    settings = settings_for(base, batch_size=2, processes=2, epochs=2, decoder_epochs=40)
    job = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "t"))
    lost: list[bool] = []

    def lose(stage, step) -> None:
        if stage == "decoder" and not lost:
            lost.append(True)
            emptied(tmp_path)

    with pytest.raises(FinetuneError, match="was lost from the store"):
        launch(job, lose)
    again = launch(job)
    assert all(store.has(key) for key in keys_of(again))
    assert again == launch(job.model_copy(update={"folder": str(tmp_path / "fresh")}))


@every_damage
def test_a_damaged_preview_is_left_out_of_the_page(damage, tmp_path):
    for epoch in (0, 2):
        noise = torch.randint(0, 256, (2, 16, 16, 3), generator=torch.Generator().manual_seed(epoch)).byte().numpy()
        keep_previews([Image.fromarray(picture) for picture in noise], epoch, tmp_path)
    broken = tmp_path / "epoch-0000-prompt-1.png"
    shown = {path.name: Image.open(path).tobytes() for path in tmp_path.glob("*.png")}
    rewrite(broken, damage)
    found = kept_previews(tmp_path)
    if 0 in found:  # a bit that means nothing to the picture
        assert {path.name: Image.open(path).tobytes() for paths in found.values() for path in paths} == shown
    else:
        assert broken.with_name(f"{broken.name}.damaged").exists()
    assert preview_sheet(tmp_path, 2).size == (128 * len(found), 20 + 2 * 128)

"""A training on the real stack that is stopped, loses its disk or its weights: what is kept, and what goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from flows.common.report import Finetuned
from tasks.finetune.training.made import UnetProgress
from tasks.finetune.training.state import saved_progress
from tests.e2e.stack import Stack, held
from tests.waiting import spent_until_its_end

pytestmark = pytest.mark.e2e
STOP_SECONDS = 10.0  # of the training's own time, which is the clock's where it has a processor to itself


def under_way(stack: Stack, steps: int) -> tuple[Path, psutil.Process]:
    """The UNet's folder and the process of the training that runs now, once its resume state has come so far."""

    def come_so_far() -> tuple[Path, psutil.Process] | None:
        processes = stack.processes("-m tasks.finetune")
        for folder in (stack.home / "training").glob("unet-*"):
            if processes and held(folder) and reached(folder) >= steps:
                return folder, processes[0]
        return None

    return stack.until(come_so_far, f"step {steps} of a training")


def reached(folder: Path) -> int:
    """How far the resume state has come."""
    progress = saved_progress(folder, UnetProgress)
    return progress.step if progress else 0


def first_steps(folder: Path) -> list[int]:
    """The first step that each run of a training logged, in the order of the runs."""
    logs = sorted((folder / "tensorboard").glob("events.*"), key=lambda path: path.name.split(".")[3])
    found = [[e.step for e in EventFileLoader(str(log)).Load() if e.summary.value and is_loss(e)] for log in logs]
    return [steps[0] for steps in found if steps]


def is_loss(event) -> bool:
    return event.summary.value[0].tag == "unet/loss"


@contextmanager
def lost(folder: Path) -> Iterator[None]:
    """A disk that is gone for a while: nothing can be read or written where the folder was."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.write_text("no folder")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def test_a_training_that_failed_goes_on_at_its_last_checkpoint_after_retry(stack: Stack):
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 11, "epochs": 60, "snapshot_every": 60})
    folder, _ = under_way(stack, 5)
    with lost(stack.home / "store"):
        failed = stack.wait(pipeline)
        assert failed["state"]["type"] == "FAILED"
        assert "stage finetune failed" in failed["state"]["message"]
    before, retried = reached(folder), datetime.now(UTC)
    stack.retry(pipeline)
    stack.completed(pipeline)
    assert first_steps(folder) == [1, before + 1]
    ran = stack.ran_since(retried)
    assert ran["finetune"] == 1
    assert [ran[task] for task in ("inventory", "fetch_batch", "convert_batch", "caption_batch", "build")] == [0] * 5


def test_cancelling_stops_the_training_in_seconds_and_a_new_pipeline_run_goes_on_with_it(stack: Stack):
    settings = {"seed": 12, "epochs": 300, "snapshot_every": 300}
    pipeline = stack.start("wikistyle/tiny", finetune=settings)
    folder, process = under_way(stack, 5)
    stack.post(f"/flow_runs/{pipeline}/set_state", state={"type": "CANCELLING"})  # what the UI's Cancel does
    assert spent_until_its_end(process) < STOP_SECONDS
    for run in [pipeline, stack.runs_of("finetune")[-1]["id"]]:
        assert stack.wait(run)["state"]["type"] == "CANCELLED"
    before = reached(folder)
    assert 5 <= before < 300
    stack.completed(stack.start("wikistyle/tiny", finetune=settings))
    assert first_steps(folder) == [1, before + 1]


def test_weights_lost_before_they_are_drawn_with_are_trained_again_after_retry(stack: Stack):
    before = {run["id"] for run in stack.runs_of("showcase")}
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 13})
    stack.until(lambda: {run["id"] for run in stack.runs_of("showcase")} != before, "the end of its training")
    kept = stack.home / "parts" / "tiny" / "finetune.json"
    unet = Finetuned.model_validate_json(kept.read_bytes()).training.snapshots[-1].unet
    assert unet
    weights = stack.home / "store" / "objects" / unet.key[:2] / unet.key
    weights.unlink()
    assert "stage sample failed" in stack.wait(pipeline)["state"]["message"]
    retried = datetime.now(UTC)
    stack.retry(pipeline)
    stack.completed(pipeline)
    assert weights.exists()  # the same again, to the bit
    assert stack.ran_since(retried)["finetune"] == 1

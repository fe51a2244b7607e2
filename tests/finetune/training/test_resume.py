"""Killed with SIGKILL at random moments and started again, a training ends in the same bits as one never killed."""

import hashlib
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from tasks.common.records import Training
from tasks.common.store import Store
from tasks.finetune.errors import Interrupted
from tasks.finetune.process.job import TrainingJob, read_training
from tests.finetune.tiny import finished, run, settings_for, states_of, train_in_child

KILLS = 20

# Children are forked from a server that has imported everything: a start takes no longer than a step.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.finetune.tiny"])


def start(job: TrainingJob, store: Store):
    """A training in a process of its own, and the steps it has done of both loops together, -1 before it does any."""
    done = processes.Value("i", -1, lock=False)
    process = processes.Process(target=train_in_child, args=(job.model_dump_json(), str(store.root), done))
    process.start()
    return process, done


def kill_at(step: int, delay: float, job: TrainingJob, store: Store) -> bool:
    """SIGKILL a training `delay` seconds after it did this step (-1: after it started); whether it was still alive."""
    process, done = start(job, store)
    while done.value < step and process.is_alive():
        time.sleep(0.0005)
    process.join(delay)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def results(folder: Path) -> tuple[Training, str, str]:
    """The record, and the hashes of both resume states: fp32 weights, moments, EMA and all losses."""
    states = [hashlib.sha256(states_of(part, folder)[0].read_bytes()).hexdigest() for part in ("unet", "decoder")]
    (result,) = finished(folder)
    return read_training(result)[1], states[0], states[1]


def test_sigkill_at_random_moments_changes_no_bit(dataset, base, store, tmp_path):
    """Three kills before the first step, four as snapshots are made, the others anywhere in the two loops."""
    settings = settings_for(base, epochs=8, batch_size=2, decoder_epochs=8, decoder_batch_size=2, caption_dropout=0.2)
    whole = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "whole"))
    start(whole.model_copy(update={"folder": str(tmp_path / "warm")}), store)[0].join()  # the server imports first
    began = time.monotonic()
    process, done = start(whole, store)
    while done.value < 0 and process.is_alive():
        time.sleep(0.0005)
    starting = time.monotonic() - began
    process.join()
    assert process.exitcode == 0
    steps, pace = done.value, (time.monotonic() - began - starting) / done.value
    first, _, _ = results(tmp_path / "whole")

    chance = random.Random()
    snapshots = [*chance.sample([snapshot.step for snapshot in first.snapshots[1:]], 3), first.snapshots[-1].step]
    moments = [(-1, chance.uniform(0, starting)) for _ in range(3)]
    moments += [(step, chance.uniform(0, 3 * pace)) for step in snapshots]
    moments += [(chance.randrange(1, steps - 5), chance.uniform(0, pace)) for _ in range(KILLS - len(moments))]
    killed = whole.model_copy(update={"folder": str(tmp_path / "killed")})
    alive = [kill_at(step, delay, killed, store) for step, delay in sorted(moments)]
    process, _ = start(killed, store)
    process.join()
    assert process.exitcode == 0
    assert sum(alive) >= KILLS - 2, moments
    assert results(tmp_path / "killed") == results(tmp_path / "whole"), f"killed at {sorted(moments)} of {steps} steps"


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_stopped_after_any_step_it_goes_on_to_the_same_bits(ema_decay, dataset, base, store, tmp_path):
    settings = settings_for(base, epochs=2, ema_decay=ema_decay, decoder_epochs=2)
    run(dataset, settings, tmp_path / "whole", store)
    stops = 0
    while not finished(tmp_path / "stopped"):
        try:
            run(dataset, settings, tmp_path / "stopped", store, stopping=lambda: True)
        except Interrupted:
            stops += 1
    assert stops >= 6
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_a_finished_training_is_not_trained_again(dataset, base, store, tmp_path):
    first = run(dataset, settings_for(base), tmp_path / "t", store)
    steps = []
    again = run(dataset, settings_for(base), tmp_path / "t", store, report=lambda stage, step: steps.append(step))
    assert again == first
    assert steps == []

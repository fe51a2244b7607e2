"""Killed with SIGKILL at random moments and started again, a training ends in the same bits as one never killed."""

import hashlib
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from tasks.finetune.errors import Interrupted
from tasks.finetune.train import TrainingJob
from tasks.records import Training
from tasks.store import Store
from tests.finetune.tiny import run, settings_for, train_in_child

KILLS = 5

# Children are forked from a server that has imported everything: a start takes no longer than a step.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.finetune.tiny"])


def start(job: TrainingJob, store: Store):
    process = processes.Process(target=train_in_child, args=(job.model_dump_json(), str(store.root)))
    process.start()
    return process


def results(folder: Path) -> tuple[Training, str, str]:
    """The record, and the hashes of both resume states: fp32 weights, moments, EMA and all losses."""
    states = [hashlib.sha256((folder / f"{part}.safetensors").read_bytes()).hexdigest() for part in ("unet", "decoder")]
    return Training.model_validate_json((folder / "training.json").read_text()), states[0], states[1]


def test_sigkill_at_random_moments_changes_no_bit(dataset, base, store, tmp_path):
    settings = settings_for(base, epochs=8, batch_size=2, decoder_epochs=4, caption_dropout=0.2)
    whole = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "whole"))
    warm = processes.Process(target=time.sleep, args=(0,))  # the server imports, which is no part of a training's time
    warm.start()
    warm.join()
    began = time.monotonic()
    process = start(whole, store)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0

    killed = whole.model_copy(update={"folder": str(tmp_path / "killed")})
    chance, kills = random.Random(), 0
    moments = [chance.uniform(0.02, 0.3) * seconds for _ in range(KILLS)]
    for moment in moments:
        process = start(killed, store)
        process.join(moment)
        kills += process.is_alive()
        process.kill()
        process.join()
    process = start(killed, store)
    process.join()
    assert process.exitcode == 0
    assert kills >= KILLS / 2
    assert results(tmp_path / "killed") == results(tmp_path / "whole"), f"killed after {moments} of {seconds} s"


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_stopped_after_any_step_it_goes_on_to_the_same_bits(ema_decay, dataset, base, store, tmp_path):
    settings = settings_for(base, epochs=2, ema_decay=ema_decay, decoder_epochs=2)
    run(dataset, settings, tmp_path / "whole", store)
    stops = 0
    while not (tmp_path / "stopped" / "training.json").exists():
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

"""Training in processes of their own: stopped with SIGTERM, told of errors in one line, two doing the work of one."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tasks.common.errors import DatasetError
from tasks.finetune.errors import FinetuneError
from tasks.finetune.process.job import TrainingJob
from tasks.finetune.process.launch import launch
from tests.finetune.tiny import finished, progress_in, run, settings_for, states_of
from tests.waiting import left_of, spent_until_its_end


def start_child(job: TrainingJob) -> subprocess.Popen:
    path = Path(job.folder) / "job.json"
    path.parent.mkdir(parents=True)
    path.write_text(job.model_dump_json())
    command = [sys.executable, "-m", "tasks.finetune.process", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def cpu_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "length"),
    [
        ("disk: ", {}),
        ('"drawn":0', {}),
        ('"stage":"unet"', {"epochs": 30}),
        ('"stage":"decoder"', {"decoder_epochs": 12, "decoder_batch_size": 1}),
    ],
)
def test_sigterm_at_any_time_ends_it_in_seconds_and_the_next_goes_on(
    sign, length, dataset, base, store, tmp_path
):  # fmt: skip
    """While it caches pictures, before the first step, and in the middle of each loop."""
    settings = settings_for(base, validation_prompts=("a cat",), snapshot_every=30, **length)
    job = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "t"))
    process = start_child(job)
    assert process.stdout
    lines, spent = [], None
    for line in process.stdout:
        lines.append(line)
        if sign in line and spent is None:
            process.send_signal(signal.SIGTERM)
            spent = spent_until_its_end(psutil.Process(process.pid))
    assert process.wait() == 75
    assert spent is not None
    assert spent < 10
    assert json.loads(lines[-1])["kind"] == "Interrupted"
    assert "run the stage again" in lines[-1]
    assert not finished(tmp_path / "t")
    assert run(dataset, settings, tmp_path / "t", store) == run(dataset, settings, tmp_path / "whole", store)


@pytest.mark.slow
def test_a_caller_that_is_killed_ends_the_training_with_its_state_saved(dataset, base, store, tmp_path):
    settings = settings_for(base, epochs=10_000, snapshot_every=10_000, checkpoint_steps=1_000_000, held_out=0.0)
    job = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "t"))
    (tmp_path / "job.json").write_text(job.model_dump_json())
    program = (
        "import sys; from pathlib import Path; from tasks.finetune.process.launch import launch\n"
        "from tasks.finetune.process.job import TrainingJob\n"
        "job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "launch(job, lambda stage, step: print(step.step, flush=True))"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "job.json")], stdout=subprocess.PIPE, text=True
    )
    assert caller.stdout
    seen = int(caller.stdout.readline())
    (trainer,) = psutil.Process(caller.pid).children()
    caller.kill()
    caller.wait()
    assert left_of([trainer]) == []
    assert progress_in(tmp_path / "t").step >= seen


@pytest.mark.slow
def test_a_caller_that_ends_ends_the_training_and_the_next_goes_on(dataset, base, store, tmp_path):
    job = TrainingJob(dataset=dataset, settings=settings_for(base, epochs=20), folder=str(tmp_path / "t"))
    steps = []

    def give_up(stage, step):
        steps.append(step.step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(job, give_up)
    resumed = run(dataset, job.settings, Path(job.folder), store)
    assert resumed == run(dataset, job.settings, tmp_path / "whole", store)


@pytest.mark.slow
def test_the_childs_error_is_raised_here_as_it_is(base, store, tmp_path):
    job = TrainingJob(dataset=str(tmp_path / "nothing"), settings=settings_for(base), folder=str(tmp_path / "t"))
    with pytest.raises(DatasetError, match="nothing can't be loaded"):
        launch(job)


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(dataset, base, store, tmp_path):
    plain = {"epochs": 3, "snapshot_every": 1, "caption_dropout": 0.3, "decoder_epochs": 1}
    one = settings_for(base, batch_size=4, **plain)
    two = settings_for(base, batch_size=2, processes=2, **plain)
    alone = run(dataset, one, tmp_path / "one", store)
    told, said = [], []
    job = TrainingJob(dataset=dataset, settings=two, folder=str(tmp_path / "two"))
    shared = launch(job, lambda stage, step: told.append((stage, step.step)), said.append)
    assert len(set(told)) == len(told)  # the first process alone speaks
    assert sum(line.startswith("disk: ") for line in said) == 1
    for a, b in zip(alone.losses, shared.losses, strict=True):
        assert a.heldout_loss == pytest.approx(b.heldout_loss, rel=1e-5)
        assert a.train_loss == (None if b.train_loss is None else pytest.approx(b.train_loss, rel=1e-5))
    weights = [load_file(states_of("unet", tmp_path / folder)[0]) for folder in ("one", "two")]
    for name, value in weights[0].items():
        if not name.startswith("exp_avg_sq"):
            torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_processes_that_are_not_there_are_missed(dataset, base, store, tmp_path):
    with pytest.raises(FinetuneError, match="processes is 2, but 1 train"):
        run(dataset, settings_for(base, processes=2), tmp_path / "t", store)


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(dataset, base, store, tmp_path):
    settings = settings_for(base, batch_size=2, processes=2, epochs=40, decoder_epochs=0, held_out=0.0)
    job = TrainingJob(dataset=dataset, settings=settings, folder=str(tmp_path / "t"))
    job_file = tmp_path / "job.json"
    job_file.write_text(job.model_dump_json())

    def stop(stage, step):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        launch(job, stop)
    assert states_of("unet", tmp_path / "t")
    resumed = launch(job)
    alone = run(
        dataset, settings_for(base, batch_size=4, epochs=40, decoder_epochs=0, held_out=0.0), tmp_path / "o", store
    )
    assert resumed.losses[-1].train_loss == pytest.approx(alone.losses[-1].train_loss, rel=1e-2)

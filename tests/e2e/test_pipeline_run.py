"""The whole pipeline on a real server with one worker for each pool, and what a retry runs again."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tasks.finetune.process.job import TrainingJob, read_training
from tests.e2e.stack import Stack, held
from tests.waiting import left_of

pytestmark = pytest.mark.e2e


def ran(stack: Stack, run: str) -> Counter[str]:
    """How often each task of a run did its work, by the task's name; what came from the cache doesn't count."""
    done = [task for task in stack.tasks_of(run) if task["state"]["name"] == "Completed" and task["cache_key"]]
    return Counter(task["task_key"].split("-")[0] for task in done)


def test_the_pipeline_run_completes_and_trains_on_the_gpu_pool_alone(stack: Stack):
    before = {part: {run["id"] for run in stack.runs_of(part)} for part in ("finetune", "showcase")}
    pipeline = stack.completed(stack.start("wikistyle/tiny", finetune={"seed": 2}))
    assert pipeline["work_pool_name"] == "wikistyle-cpu"
    assert "Worker 'cpu-worker'" in stack.logs(pipeline["id"])
    for part in ("finetune", "showcase"):
        (child,) = new(stack, part, before)
        assert child["work_pool_name"] == "wikistyle-gpu"
        assert "Worker 'gpu-worker'" in stack.logs(child["id"])
    folder = stack.clone / "runs" / "latest"
    summary = json.loads((folder / "summary.json").read_text())
    aside = len(summary["rejects"]) + summary["wiki"]["duplicates"]
    assert summary["dataset"]["rows"] + aside == summary["wiki"]["listed"] == 6
    assert [snapshot["epoch"] for snapshot in summary["snapshots"]] == [0, 1]
    assert (folder / "gallery" / "index.html").is_file()


def test_a_failed_training_is_retried_in_place_and_nothing_else_runs_again(stack: Stack):
    """Retry after the child failed; and when the GPU worker dies in mid-training, the run goes on by itself."""
    training = stack.home / "training"
    training.mkdir(exist_ok=True)  # by the first training
    training.rename(stack.home / "aside")
    training.write_text("not a folder")
    before = {run["id"] for run in stack.runs_of("finetune")}
    pipeline = stack.start("wikistyle/tiny", finetune={"seed": 1, "epochs": 20, "snapshot_every": 20})
    failed = stack.wait(pipeline)
    assert failed["state"]["type"] == "FAILED"
    assert "finetune/tiny-finetune run" in failed["state"]["message"]
    assert "press Retry" in failed["state"]["message"]

    training.unlink()
    (stack.home / "aside").rename(training)
    stack.retry(pipeline)
    job = kill_in_mid_training(stack, training)
    stack.completed(pipeline)
    (child,) = [run for run in stack.runs_of("finetune") if run["id"] not in before]
    assert child["state"]["type"] == "COMPLETED"
    assert child["run_count"] == 3  # failed, killed, completed: one run, one training
    inner = [run["id"] for run in stack.runs_of("collect") if run["start_time"] >= failed["start_time"]]
    assert sum((ran(stack, run) for run in inner), Counter()) == Counter()
    states = [state["name"] for state in stack.get(f"/flow_run_states/?flow_run_id={child['id']}")]
    assert Counter(states)["AwaitingRetry"] == 2
    assert Counter(states)["Crashed"] >= 1
    assert outcome(job) == outcome(trained_undisturbed(stack, job))


def outcome(job: TrainingJob) -> tuple:
    """The losses of a training and the hashes of all weights it made."""
    _, done = read_training(job.files()[1])
    assert done.snapshots[-1].unet
    assert done.snapshots[-1].decoder
    return done.losses, [(s.epoch, s.unet, s.decoder) for s in done.snapshots]


def trained_undisturbed(stack: Stack, job: TrainingJob) -> TrainingJob:
    """The same job from nothing in another folder, in one go and without Prefect."""
    again = job.model_copy(update={"folder": f"{job.folder}-undisturbed"})
    path, _ = again.files()
    path.parent.mkdir()
    path.write_text(again.model_dump_json())
    environment = stack.environment | {"WIKISTYLE_STORE": str(stack.home / "store")}
    command = [sys.executable, "-m", "tasks.finetune.process", str(path)]
    subprocess.run(command, cwd=stack.clone, env=environment, check=True, capture_output=True)
    return again


def kill_in_mid_training(stack: Stack, training: Path) -> TrainingJob:
    """SIGKILL the GPU worker, the run and the training at once, when there is something to resume, as a dead host.

    Returns the training's job.
    """

    def resumable() -> tuple[list[psutil.Process], list[TrainingJob]] | None:
        started = stack.processes("-m tasks.finetune")
        jobs = [TrainingJob.model_validate_json(path.read_bytes()) for path in training.glob("job-*.json")]
        unfinished = [job for job in jobs if not job.files()[1].exists()]
        resumes = any(held(state.parent) for state in training.glob("unet-*/step-*"))
        return (started, unfinished) if started and unfinished and resumes else None

    (trainer,), unfinished = stack.until(resumable, "the first checkpoint of a training")
    (worker,) = stack.workers("wikistyle-gpu")
    doomed = [worker, *[p for p in worker.children(recursive=True) if p in trainer.parents()], trainer]
    for process in doomed:
        process.kill()
    assert left_of(doomed) == []
    return max(unfinished, key=lambda job: job.files()[0].stat().st_mtime)


def test_a_killed_pipeline_run_is_taken_up_and_finds_its_child_again(stack: Stack):
    """The run's process is killed while its child draws: one pipeline run, one child, and nothing was drawn twice."""
    stack.completed(stack.start("wikistyle/tiny"))
    before = {flow: {run["id"] for run in stack.runs_of(flow)} for flow in ("finetune", "showcase")}
    pipeline = stack.start("wikistyle/tiny", sample={"seeds": [0, 1]})
    children = stack.until(lambda: new(stack, "showcase", before), "the pipeline run's child")
    (engine,) = [process for process in stack.processes() if process.environ().get("PREFECT__FLOW_RUN_ID") == pipeline]
    engine.kill()
    stack.wait(pipeline, {"CRASHED"})
    stack.wait(pipeline, {"SCHEDULED", "PENDING", "RUNNING"})
    stack.completed(pipeline)
    assert stack.run(pipeline)["run_count"] == 2
    assert new(stack, "finetune", before) == []  # trained before
    assert [run["id"] for run in new(stack, "showcase", before)] == [run["id"] for run in children]
    assert stack.run(children[0]["id"])["run_count"] == 1


def new(stack: Stack, flow: str, before: dict[str, set[str]]) -> list[dict]:
    """The runs of a flow that were not there before."""
    return [run for run in stack.runs_of(flow) if run["id"] not in before[flow]]

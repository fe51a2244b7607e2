"""Running a training as a process of its own, so that it can be stopped, and more than one process can train."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.common import same_code
from tasks.common.errors import DatasetError, ModelError, WikistyleError
from tasks.common.files import write_atomically
from tasks.common.records import Training
from tasks.finetune.errors import FinetuneError, Interrupted, LossError, ResourceError
from tasks.finetune.process.job import TrainingJob, read_training
from tasks.finetune.process.messages import Failed, PreviewsDrawn, StepDone, parse
from tasks.finetune.training.steps import Step

STOP_SECONDS = 60.0
KINDS: dict[str, type[WikistyleError]] = {
    kind.__name__: kind for kind in (DatasetError, Interrupted, LossError, ModelError, ResourceError)
}


def launch(
    job: TrainingJob,
    report: Callable[[str, Step], None] = lambda stage, step: None,
    log: Callable[[str], None] = lambda line: None,
    drawn: Callable[[int, Path], None] = lambda epoch, folder: None,
) -> Training:
    """Train in a child process (torchrun when `processes` is over 1) and return the result.

    `report` gets "unet" or "decoder" and the step about once a second; `log` gets the child's other lines, `drawn` an
    epoch whose previews are there, and their folder. Whatever ends the caller ends the child: it gets SIGTERM, saves
    its state, and the same job resumes there next time.
    Raises the child's own FinetuneError.
    """
    path, result = job.files()
    write_atomically(path, job.model_dump_json().encode())
    process = subprocess.Popen(
        _command(job, path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=same_code.environment(),
        start_new_session=True,
    )
    failure: WikistyleError | None = None
    last_lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            match parse(line):
                case StepDone() as done:
                    report(done.stage, done.step)
                case PreviewsDrawn() as previews:
                    drawn(previews.drawn, Path(previews.folder))
                case Failed() as failed:
                    failure = failure or KINDS.get(failed.kind, FinetuneError)(failed.error)
                case None:
                    last_lines = [*last_lines[-5:], line.rstrip()]
                    log(line.rstrip())
        status = process.wait()
    finally:
        _stop(process)
    if failure:
        raise failure
    if status != 0:
        raise FinetuneError(f"training process ended with status {status}: {' | '.join(last_lines[-2:])}; run it again")
    return read_training(result)[1]


def _command(job: TrainingJob, path: Path) -> list[str]:
    if job.settings.processes == 1:
        return [sys.executable, "-m", "tasks.finetune.process", str(path)]
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={job.settings.processes}",
        "-m", "tasks.finetune.process", str(path),
    ]  # fmt: skip


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""The fine-tune stage as a Prefect task."""

import time
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from tasks.common.caching import ContentKey, cached_task
from tasks.common.environment import environment
from tasks.common.progress import Progress
from tasks.common.records import DatasetRef, Training
from tasks.finetune.settings import FinetuneSettings

VERSION = 2
ARTIFACT_SECONDS = 10.0


class TrainingKey(ContentKey):
    """A dataset is its rows, not where it was published or what its card says."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        dataset = inputs["dataset"]
        rows = dataset.fingerprint if isinstance(dataset, DatasetRef) else dataset
        return super().compute_key(task_ctx, inputs | {"dataset": rows}, flow_parameters, **kwargs)


def training_root() -> Path:
    """Where trainings keep caches, states and logs: `WIKISTYLE_TRAINING`, by default `.wikistyle/training`."""
    return environment().training


def stored_keys(training: Training) -> list[str]:
    """The store keys a cached result relies on."""
    return [file.key for snapshot in training.snapshots for file in (snapshot.unet, snapshot.decoder) if file]


@cached_task(
    "finetune",
    VERSION,
    keys=stored_keys,
    policy=TrainingKey("finetune", VERSION),
    task_run_name="train {settings.epochs} epochs",
)
def finetune(dataset: DatasetRef | str, settings: FinetuneSettings, base_identity: str) -> Training:
    """Train on the dataset, or resume the training a killed run left; `base_identity` stands for the base's weights.

    The training is a process of its own: when this task is cancelled or its process ends, it saves and stops.
    """
    from tasks.finetune.pages import losses_page, preview_page
    from tasks.finetune.process.job import TrainingJob
    from tasks.finetune.process.launch import launch
    from tasks.finetune.training.steps import Step, describe

    logger = get_run_logger()
    bars: dict[str, Progress] = {}
    seen = SeenInPrefect()

    def report(stage: str, step: Step) -> None:
        if stage not in bars:
            bars[stage] = Progress(stage, step.steps, "steps")
        note = describe(step)
        bars[stage].advance(step.step - bars[stage].done, note)
        seen.show(stage, 100 * step.step / step.steps, note, last=step.step == step.steps)

    def show_previews(epoch: int, folder: Path) -> None:
        page = preview_page(folder, settings.validation_prompts)
        create_markdown_artifact(page, key="finetune-preview", description=f"Drawn by the snapshots to epoch {epoch}")

    job = TrainingJob(dataset=dataset, settings=settings, folder=str(training_root()))
    try:
        training = launch(job, report, logger.info, show_previews)
    finally:
        for bar in bars.values():
            bar.close()
    create_markdown_artifact(losses_page(training), key="finetune-losses", description="Loss and PSNR of each snapshot")
    return training


class SeenInPrefect:
    """One progress artifact a stage, brought up to date every few seconds: an update is a request to the server."""

    def __init__(self) -> None:
        self._artifacts: dict[str, Any] = {}
        self._at = 0.0

    def show(self, stage: str, percent: float, note: str, last: bool) -> None:
        """`note` is shown beside the bar of this stage."""
        now = time.monotonic()
        if stage not in self._artifacts:
            self._artifacts[stage] = create_progress_artifact(percent, key=f"finetune-{stage}", description=note)
        elif last or now - self._at >= ARTIFACT_SECONDS:
            update_progress_artifact(self._artifacts[stage], percent, description=note)
        else:
            return
        self._at = now

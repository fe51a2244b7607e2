"""The fine-tune stage as a Prefect task."""

import os
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.context import TaskRunContext

from tasks.caching import ContentKey
from tasks.finetune.settings import FinetuneSettings
from tasks.progress import Progress
from tasks.records import DatasetRef, Training

VERSION = 1


class TrainingKey(ContentKey):
    """A dataset is its rows, not where it was published or what its card says."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        dataset = inputs["dataset"]
        rows = dataset.fingerprint if isinstance(dataset, DatasetRef) else dataset
        return super().compute_key(task_ctx, inputs | {"dataset": rows}, flow_parameters, **kwargs)


def training_root() -> Path:
    """Where resume states lie: `WIKISTYLE_TRAINING`, by default `.wikistyle/training`."""
    return Path(os.environ.get("WIKISTYLE_TRAINING", ".wikistyle/training"))


@task(name="finetune", cache_policy=TrainingKey("finetune", VERSION), persist_result=True, result_serializer="json")
def finetune(dataset: DatasetRef | str, settings: FinetuneSettings, base_identity: str) -> Training:
    """Train on the dataset, or resume the training a killed run left; `base_identity` stands for the base's weights.

    The training is a process of its own: when this task is cancelled or its process ends, it saves and stops.
    """
    from tasks.finetune.launch import launch
    from tasks.finetune.loop import Step
    from tasks.finetune.train import TrainingJob, training_folder

    logger = get_run_logger()
    shown: dict[str, Progress] = {}

    def report(stage: str, step: Step) -> None:
        if stage not in shown:
            shown[stage] = Progress(stage, step.steps, "steps")
        note = f"loss {step.loss:.4f}, lr {step.learning_rate:.1e}, {step.images_per_second:.0f} images/s"
        shown[stage].advance(step.step - shown[stage].done, note)

    folder = training_folder(training_root(), dataset, settings)
    try:
        return launch(TrainingJob(dataset=dataset, settings=settings, folder=str(folder)), report, logger.info)
    finally:
        for bar in shown.values():
            bar.close()


def stored_keys(training: Training) -> list[str]:
    """The store keys a cached result relies on."""
    return [file.key for snapshot in training.snapshots for file in (snapshot.unet, snapshot.decoder) if file]

"""What a training is and where it lies; torch isn't needed to say so, and takes seconds to load."""

from pathlib import Path

from tasks.finetune.settings import FinetuneSettings
from tasks.identity import model_identity
from tasks.records import DatasetRef, Record
from tasks.settings import digest

PREVIEWS = "previews"  # folder of the preview pictures within the training's


class TrainingJob(Record):
    """What one training is: the dataset, the settings, and the folder of its caches and resume state."""

    dataset: DatasetRef | str
    settings: FinetuneSettings
    folder: str


def training_folder(root: Path, dataset: DatasetRef | str, settings: FinetuneSettings) -> Path:
    """Where a training of this dataset with these settings keeps its state: the same for every retry of it."""
    name = dataset if isinstance(dataset, str) else dataset.fingerprint
    return (
        root / digest([name, settings.output_settings(), model_identity(settings.base_model, settings.revision)])[:24]
    )

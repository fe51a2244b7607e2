"""What a training is and where it lies; torch isn't needed to say so, and takes seconds to load."""

from pathlib import Path

from tasks.common.files import write_atomically
from tasks.common.model_id import model_identity
from tasks.common.records import DatasetRef, Record, Training
from tasks.common.settings import digest
from tasks.finetune.settings import FinetuneSettings


class TrainingJob(Record):
    """What one training is: the dataset, the settings, and the folder where trainings keep their parts."""

    dataset: DatasetRef | str
    settings: FinetuneSettings
    folder: str

    def files(self) -> tuple[Path, Path]:
        """(job, result): the files of this job's own in the folder, the same for every retry of it."""
        dataset = self.dataset if isinstance(self.dataset, str) else self.dataset.fingerprint
        base = model_identity(self.settings.base_model, self.settings.revision)
        name = f"{digest([dataset, self.settings.output_settings(), base])[:16]}.json"
        return Path(self.folder) / f"job-{name}", Path(self.folder) / f"training-{name}"


class Finished(Record):
    """A finished training on disk: `key` is of what it was made from, `sha256` of key and training together."""

    key: str
    sha256: str
    training: Training


def write_training(path: Path, key: str, training: Training) -> None:
    """Replace the result file of a job."""
    finished = Finished(key=key, sha256=_sealed(key, training), training=training)
    write_atomically(path, finished.model_dump_json(indent=1, exclude_unset=True).encode())


def read_training(path: Path) -> tuple[str, Training]:
    """(key, training) of a result file. Raises ValueError when it is not as it was written."""
    finished = Finished.model_validate_json(path.read_bytes(), strict=True)
    if finished.sha256 != _sealed(finished.key, finished.training):
        raise ValueError("its words are not those that were written")
    return finished.key, finished.training


def _sealed(key: str, training: Training) -> str:
    # What was not set isn't sealed: a file from before a field was there is as it was written, too.
    return digest([key, training.model_dump(mode="json", exclude_unset=True)])

"""Which snapshot, at which strength, becomes a run's model folder."""

from tasks.common.errors import WikistyleError
from tasks.common.records import Snapshot, Training
from tasks.measure.records import Measured
from tasks.measure.settings import MeasureSettings


def check_release(training: Training, how: MeasureSettings) -> None:
    """Raise in one line when the epoch to be released has no snapshot."""
    epochs = [snapshot.epoch for snapshot in training.snapshots]
    if how.release_epoch is not None and how.release_epoch not in epochs:
        raise WikistyleError(
            f"measure.release_epoch is {how.release_epoch}, which has no snapshot; "
            f"name one of {', '.join(map(str, epochs))}, or leave it empty"
        )


def released(training: Training, measured: Measured | None, how: MeasureSettings) -> tuple[Snapshot, float]:
    """The snapshot, and the strength, that a run's model folder holds: the one named, the recommended, or the last."""
    by_epoch = {snapshot.epoch: snapshot for snapshot in training.snapshots}
    if how.release_epoch is not None:
        check_release(training, how)
        return by_epoch[how.release_epoch], 1.0
    found = measured.recommendation if measured else None
    if found is None or found.epoch is None or found.strength is None:
        return training.snapshots[-1], 1.0
    return by_epoch[found.epoch], found.strength

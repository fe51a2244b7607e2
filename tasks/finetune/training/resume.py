"""Where a training goes on: the farthest state from which every snapshot asked for can still be had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from time import sleep
from typing import Generic

from tasks.finetune.errors import FinetuneError, Interrupted
from tasks.finetune.training.intact import intact, set_aside
from tasks.finetune.training.made import Progress, S
from tasks.finetune.training.state import read_progress, states_in

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Resume(Generic[S]):
    """The state to begin with, None for the base model, and its progress: what of it is kept is in the store."""

    state: Path | None
    progress: Progress[S]

    def complete(self, wanted: set[int]) -> bool:
        """Whether nothing is left to do for snapshots after the `wanted` steps."""
        return self.progress.step >= max(wanted) and all(self.progress.has(step) for step in wanted)


def resume_from(
    folder: Path, kind: type[Progress[S]], wanted: set[int], has: Callable[[str], bool], log: Callable[[str], None]
) -> Resume[S]:
    """Choose among the states in `folder` for a training that must have snapshots after the `wanted` steps.

    `has` says whether the store has a key. A damaged state is set aside. A state won't do when a wanted snapshot from
    before it was never made, or is lost: the course is then trained again from an earlier state or from the start,
    through the same bits, and snapshots already there are not made again.
    """
    found = states_in(folder)
    states: list[tuple[Path, Progress[S]]] = []
    for path in found:
        if not intact(path, log):
            continue
        try:
            states.append((path, read_progress(path, kind)))
        except FinetuneError as error:
            set_aside(path, str(error), log)
    known = {made.step: made for _, progress in reversed(states) for made in progress.snapshots}
    there = {step: made for step, made in known.items() if not made.file or has(made.file.key)}
    for step in sorted((known.keys() - there.keys()) & wanted):
        log(f"{folder.name}: the snapshot of step {step} is lost from the store; it is made again")
    snapshots = [there[step] for step in sorted(there)]
    for path, progress in states:
        if all(step in there for step in wanted if step < progress.step):
            if path != found[0]:
                log(f"{folder.name}: goes on from the state of step {progress.step}")
            return Resume(path, progress.model_copy(update={"snapshots": snapshots}))
    if found:
        log(f"{folder.name}: no state from before its first missing snapshot is left; it is trained from the start")
    return Resume(None, kind(snapshots=snapshots))


@contextmanager
def alone_in(folder: Path, log: Callable[[str], None], stopping: Callable[[], bool]) -> Iterator[None]:
    """Hold the folder for this process; wait while another trains there. Released when the process ends, however.

    Raises Interrupted when asked to stop while it waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        told = False
        while not _locked(lock.fileno()):
            if not told:
                log(f"another process trains in {folder}; waiting for it")
            told = True
            if stopping():
                raise Interrupted("training stopped while it waited for another; run the stage again")
            sleep(LOOK_SECONDS)
        yield


def _locked(file: int) -> bool:
    """Whether the lock was taken; a file system without locks counts as taken."""
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

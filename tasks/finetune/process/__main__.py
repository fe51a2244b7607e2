"""One training process: `python -m tasks.finetune.process JOB.json` writes what it does to stdout as JSON lines.

Run by `launch`, so that a stop request always ends it: SIGTERM, or the end of the caller, saves the state, and the
process exits with status 75.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.common.errors import WikistyleError, first_line
from tasks.finetune.errors import Interrupted
from tasks.finetune.process.messages import Failed, PreviewsDrawn, StepDone
from tasks.finetune.training.steps import Step

EXIT_INTERRUPTED = 75  # sysexits.h EX_TEMPFAIL: try again and it goes on
REPORT_SECONDS = 1.0
STOPPED = Failed(error="training stopped before its first step; run the stage again", kind="Interrupted")
BEFORE_FIRST_STEP = f"{STOPPED.model_dump_json()}\n".encode()
OUT_OF_MEMORY = (
    "the GPU's memory is too small for this training; lower batch_size (and raise gradient_accumulation), "
    "set gradient_checkpointing, or set lora_rank"
)


class StopRequest:
    """Whether this process was asked to stop: by SIGTERM, or by the end of its caller."""

    def __init__(self) -> None:
        self.asked = self.looked_at = False

    def by_signal(self, number: int, frame: Any) -> None:
        """The handler of SIGTERM."""
        self.asked = True
        if not self.looked_at:
            # Only the loops look whether to stop, and before them there is nothing to save. An exception raised here
            # could come out anywhere, in the middle of a queue's locks too, and leave a thread that never ends.
            os.write(1, BEFORE_FIRST_STEP)
            os._exit(EXIT_INTERRUPTED)

    def stopping(self) -> bool:
        """Asked by the loops after each step."""
        self.looked_at = True
        return self.asked


def main() -> int:
    from torch import OutOfMemoryError

    from tasks.common.store import Store
    from tasks.finetune.process.job import TrainingJob
    from tasks.finetune.training.train import train

    job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
    leads = os.environ.get("RANK", "0") == "0"
    request = StopRequest()
    signal.signal(signal.SIGTERM, request.by_signal)
    try:
        train(
            job, Store(), _reporter(request) if leads else lambda stage, step: None, request.stopping,
            lambda line: print(line, flush=True) if leads else None,
            lambda epoch, folder: PreviewsDrawn(drawn=epoch, folder=str(folder)).say(),
        )  # fmt: skip
    except Interrupted as error:
        Failed(error=str(error), kind="Interrupted").say()
        return EXIT_INTERRUPTED
    except OutOfMemoryError:
        Failed(error=OUT_OF_MEMORY, kind="ResourceError").say()
        return 1
    except WikistyleError as error:
        Failed(error=str(error), kind=type(error).__name__).say()
        return 1
    except Exception as error:
        # Said before the other processes are stopped for it, and say that they were.
        Failed(error=f"{first_line(error)}; its traceback is in the log", kind="FinetuneError").say()
        raise
    return 0


def _reporter(request: StopRequest) -> Callable[[str, Step], None]:
    """Says the steps, a line a second at most and always the last; a caller that no longer reads asks to stop."""
    last_said = 0.0

    def report(stage: str, step: Step) -> None:
        nonlocal last_said
        now = time.monotonic()
        if now - last_said >= REPORT_SECONDS or step.step == step.steps:
            last_said = now
            try:
                StepDone(stage=stage, step=step).say()
            except BrokenPipeError:  # the caller was killed
                request.asked = True

    return report


if __name__ == "__main__":
    sys.exit(main())

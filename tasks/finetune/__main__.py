"""One training process: `python -m tasks.finetune JOB.json` writes what it does to stdout as JSON lines.

Run by `launch`, so that a stop request always ends it: SIGTERM saves the state and exits with status 75.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tasks.finetune.errors import FinetuneError, Interrupted, first_line

EXIT_INTERRUPTED = 75  # sysexits.h EX_TEMPFAIL: try again and it goes on
REPORT_SECONDS = 1.0
OUT_OF_MEMORY = (
    "the GPU's memory is too small for this training; lower batch_size (and raise gradient_accumulation), "
    "set gradient_checkpointing, or set lora_rank"
)


def main() -> int:
    from torch import OutOfMemoryError

    from tasks.finetune.train import TrainingJob, train
    from tasks.store import Store

    job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
    stop_requested: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop_requested.append(number))
    leads = os.environ.get("RANK", "0") == "0"
    last = {"at": 0.0}

    def report(stage, step):  # type: ignore[no-untyped-def]
        now = time.monotonic()
        if leads and (now - last["at"] >= REPORT_SECONDS or step.step == step.steps):
            last["at"] = now
            _say({"stage": stage, **asdict(step)})

    try:
        train(
            job, Store(), report, lambda: bool(stop_requested), lambda line: print(line, flush=True) if leads else None
        )
    except Interrupted as error:
        _say({"error": str(error), "kind": "Interrupted"})
        return EXIT_INTERRUPTED
    except OutOfMemoryError:
        _say({"error": OUT_OF_MEMORY, "kind": "ResourceError"})
        return 1
    except FinetuneError as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return 1
    except Exception as error:
        # Said before the other processes are stopped for it, and say that they were.
        _say({"error": f"{first_line(error)}; its traceback is in the log", "kind": "FinetuneError"})
        raise
    return 0


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())

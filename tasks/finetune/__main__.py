"""One training process: `python -m tasks.finetune JOB.json` writes what it does to stdout as JSON lines.

Run by `launch`, so that a stop request always ends it: SIGTERM saves the state and exits with status 75.
"""

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tasks.finetune.errors import FinetuneError, Interrupted

EXIT_INTERRUPTED = 75  # sysexits.h EX_TEMPFAIL: try again and it goes on
REPORT_SECONDS = 1.0


def main() -> int:
    from tasks.finetune.train import TrainingJob, train
    from tasks.store import Store

    job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
    stop_requested: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop_requested.append(number))
    last = {"at": 0.0}

    def report(stage, step):  # type: ignore[no-untyped-def]
        now = time.monotonic()
        if now - last["at"] >= REPORT_SECONDS or step.step == step.steps:
            last["at"] = now
            print(json.dumps({"stage": stage, **asdict(step)}), flush=True)

    try:
        train(job, Store(), report, lambda: bool(stop_requested))
    except Interrupted as error:
        print(json.dumps({"error": str(error), "kind": "Interrupted"}), flush=True)
        return EXIT_INTERRUPTED
    except FinetuneError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

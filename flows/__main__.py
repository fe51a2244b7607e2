"""`python -m flows`: the child in which the command line runs flows: a request on stdin, its outcome on stdout."""

import asyncio
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from flows.common.process import Outcome, Request, stop
from flows.common.settings import Settings
from tasks.common.environment import environment


def main() -> int:
    """The child: a request on stdin, its outcome on stdout; SIGTERM, or the end of the parent, stops it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print must not get among the answers
    signal.signal(signal.SIGTERM, stop)
    try:
        request = Request.model_validate_json(sys.stdin.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        outcome = Outcome(folder=str(run_here(request.settings, request.only, request.run_dir)))
    except Exception as error:
        if environment().traceback:
            traceback.print_exc()
        outcome = Outcome(error=" ".join(str(error).split()) or type(error).__name__)
    except BaseException:  # Stopped, or what Prefect makes of SIGTERM
        outcome = None
    with suppress(BrokenPipeError), answers:
        answers.write(outcome.model_dump_json() if outcome else "")
    return 0 if outcome else 128 + signal.SIGTERM


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def run_here(settings: Settings, only: str | None, run_dir: str) -> Path:
    """Run the pipeline or one part; returns the run's folder. Errors are raised as the stages raise them."""
    if only is None:
        from flows.wikistyle import wikistyle

        return Path(asyncio.run(wikistyle(settings, run_dir)))
    return Path(_run_part(settings, only, run_dir))


def _run_part(settings: Settings, only: str, run_dir: str) -> str:
    from flows.collect import collect
    from flows.common import handoff
    from flows.common.report import Collected, Finetuned
    from flows.finetune import finetune
    from flows.showcase import showcase
    from flows.wikistyle import write

    if only == "collect":
        collected = asyncio.run(collect(settings))
        return write(settings, run_dir, collected, None, None)
    collected = handoff.recall(settings.profile, "collect", Collected)
    if only == "finetune":
        finetuned = finetune(settings, collected.dataset)
        return write(settings, run_dir, None, finetuned, None)
    finetuned = handoff.recall(settings.profile, "finetune", Finetuned)
    showcased = showcase(settings, finetuned.training)
    return write(settings, run_dir, None, finetuned, showcased)


if __name__ == "__main__":
    sys.exit(main())

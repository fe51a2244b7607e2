"""Running flows in this process, with an embedded Prefect server unless one is named."""

import asyncio
import os
from pathlib import Path

from flows.common.settings import Settings


class HomeError(RuntimeError):
    """The home folder can't be made; the message names it, why, and what to do."""


def prepare_prefect() -> None:
    """Environment of the embedded server; to be called before Prefect is imported. What is already set stays."""
    home = Path(os.environ.get("WIKISTYLE_HOME", ".wikistyle")).resolve()
    defaults = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
        "DO_NOT_TRACK": "1",
        "WIKISTYLE_STORE": str(home / "store"),
        "WIKISTYLE_TRAINING": str(home / "training"),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def make_home() -> None:
    """Make Prefect's home folder and those above it: Prefect makes only the last, or warns and fails later.

    Raises HomeError.
    """
    home = Path(os.environ["PREFECT_HOME"])
    try:
        home.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"home {home} can't be made ({error.strerror}); set WIKISTYLE_HOME to a folder you can write to"
        ) from None


def run_here(settings: Settings, only: str | None, run_dir: str) -> Path:
    """Run the story or one part; returns the run's folder. Errors are raised as the stages raise them."""
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
    shown = showcase(settings, finetuned.training)
    return write(settings, run_dir, None, finetuned, shown)

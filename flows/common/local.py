"""Running flows in this process, with an embedded Prefect server unless one is named."""

import os
from pathlib import Path

from tasks.common.environment import environment
from tasks.common.errors import WikistyleError


class HomeError(WikistyleError):
    """The home folder can't be made; the message names it, why, and what to do."""


def prepare_prefect() -> None:
    """Environment of the embedded server; to be called before Prefect is imported. What is already set stays.

    Raises VariableError.
    """
    home = environment().home.resolve()
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
        os.environ[name] = os.environ.get(name) or value


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

"""Child processes that run this same code, whatever the current folder holds."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """The environment for `python -m` of a module of ours.

    Without it Python looks in the current folder first: a `tasks` or `samples` folder of the user's would stand in for
    ours. With it a checkout that isn't installed finds itself, too.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}

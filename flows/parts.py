"""What the parts of the story last handed on, kept per profile, so that a later part can be run alone."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from tasks.files import write_atomically
from tasks.references import needed_by, refer
from tasks.store import Store

T = TypeVar("T", bound=BaseModel)


class MissingPart(RuntimeError):
    """A part was asked for whose forerunner has not run."""


def _path(profile: str, part: str) -> Path:
    return Path(os.environ.get("WIKISTYLE_HOME", ".wikistyle")) / "parts" / profile / f"{part}.json"


def keep(profile: str, part: str, record: BaseModel) -> None:
    """Remember what a part handed on, and that its objects are needed."""
    path, store = _path(profile, part), Store()
    write_atomically(path, record.model_dump_json().encode())
    refer(path, needed_by(record, store), store)


def recall(profile: str, part: str, kind: type[T]) -> T:
    """What a part last handed on. Raises MissingPart with the command that runs it."""
    path = _path(profile, part)
    if not path.exists():
        raise MissingPart(
            f"nothing is kept of {part} for profile {profile}; "
            f"run `wikistyle run --profile {profile} --only {part}` first"
        )
    return kind.model_validate_json(path.read_bytes())

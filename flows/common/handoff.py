"""What the parts of the pipeline last handed on, kept per profile, so that a later part can be run alone."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from tasks.common.environment import environment
from tasks.common.errors import WikistyleError
from tasks.common.files import write_atomically
from tasks.common.garbage.references import needed_by, refer
from tasks.common.store import Store

T = TypeVar("T", bound=BaseModel)


class MissingPart(WikistyleError):
    """A part was asked for whose forerunner, `part`, has not run."""

    def __init__(self, profile: str, part: str):
        super().__init__(
            f"nothing is kept of {part} for profile {profile}; "
            f"run `wikistyle run --profile {profile} --only {part}` first"
        )
        self.part = part


def _path(profile: str, part: str) -> Path:
    return environment().home / "parts" / profile / f"{part}.json"


def keep(profile: str, part: str, record: BaseModel) -> None:
    """Remember what a part handed on, and that its objects are needed."""
    path, store = _path(profile, part), Store()
    write_atomically(path, record.model_dump_json().encode())
    refer(path, needed_by(record, store), store)


def check_kept(profile: str, part: str) -> Path:
    """The file of what a part last handed on. Raises MissingPart with the command that runs it."""
    path = _path(profile, part)
    if not path.exists():
        raise MissingPart(profile, part)
    return path


def recall(profile: str, part: str, kind: type[T]) -> T:
    """What a part last handed on. Raises MissingPart when it has not run."""
    return kind.model_validate_json(check_kept(profile, part).read_bytes())

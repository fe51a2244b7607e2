"""The variables `WIKISTYLE_*`: where things lie on this machine, and what is not a flow's to say.

What makes a run's results is in its settings; none of these changes them. docs/environment.md is the table.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from pydantic import Field, HttpUrl, Secret, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.common.errors import WikistyleError

PREFIX = "WIKISTYLE_"
# What Kubernetes sets in every pod for a service whose name begins with "wikistyle".
OF_A_SERVICE = re.compile(rf"{PREFIX}(.+_)?(SERVICE_HOST|SERVICE_PORT|PORT)(_.+)?")


class VariableError(WikistyleError):
    """A variable of the environment is unknown, or its value is no such thing; the message names it in one line."""


class Environment(BaseSettings):
    """One field for each variable, in lower case without the prefix. An empty variable is one that isn't set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    home: Path = Field(
        default=Path(".wikistyle"),
        description="Folder of what flows hand on, of Prefect, and of copies of an S3 store's files.",
    )
    store: str = Field(
        default=".wikistyle/store",
        description="Folder or `s3://bucket/prefix` of all bytes. The command takes `store` in the home folder.",
    )
    training: Path = Field(
        default=Path(".wikistyle/training"),
        description="Folder of trainings: caches, states, logs. The command takes `training` in the home folder.",
    )
    runs: Path = Field(default=Path("runs"), description="Folder that the runs' own folders are made in.")
    runs_url: HttpUrl | None = Field(
        default=None,
        description="Address at which something serves the folder of runs, for links to galleries: `wikistyle up`.",
    )
    cache_gib: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="GiB of copies of an S3 store's files to keep: 10 are six UNets of Stable Diffusion v1 in fp16.",
    )
    webhook_url: Secret[HttpUrl] | None = Field(
        default=None, description="Incoming webhook of a chat that is told of failures; read when the server starts."
    )
    second_wave: bool = Field(default=False, description="Whether the sample wiki has its later uploads, too.")
    traceback: bool = Field(default=False, description="Whether the command shows where an error came from.")


def environment() -> Environment:
    """The variables as they are now. Raises VariableError."""
    known = [PREFIX + field.upper() for field in Environment.model_fields]
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and not OF_A_SERVICE.fullmatch(name):
            meant = get_close_matches(name, known, n=1)
            remedy = f"did you mean {meant[0]}?" if meant else f"those known are {', '.join(known)}"
            raise VariableError(f"{name} is no variable of wikistyle; {remedy}")
    try:
        return Environment()
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise VariableError(f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}; correct it or unset it") from None

"""A PostgreSQL of its own on loopback: Debian's package, a folder that goes away, no service."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.ports import free_port

USER = "postgres"  # it refuses to run as root


def programs() -> Path | None:
    """The folder of initdb and pg_ctl of the newest version installed, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def running_postgres(bin_folder: Path) -> Iterator[str]:
    """A fresh cluster on a free port; yields SQLAlchemy's address of an empty database for asyncpg."""
    folder, port = Path(tempfile.mkdtemp(prefix="wikistyle-postgres-")), free_port()
    as_user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
    if as_user:
        shutil.chown(folder, USER, USER)

    def call(program: str, *arguments: str) -> None:
        with (folder / f"{program}.txt").open("ab") as log:  # its server would hold a pipe open
            subprocess.run(
                [str(bin_folder / program), *arguments],
                cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user,
            )  # fmt: skip

    data = str(folder / "data")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    call("initdb", "-D", data, "-U", "wikistyle", "-A", "trust", "-E", "UTF8", "--no-sync")
    try:
        call("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "server.log"), "-w", "start")
        yield f"postgresql+asyncpg://wikistyle@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)

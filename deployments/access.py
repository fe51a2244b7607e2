"""Who may use the server of `wikistyle up`: pages of its own address, and whoever knows the password."""

import os
import secrets
import tempfile
from pathlib import Path

from tasks.common.errors import WikistyleError

USER = "wikistyle"
CLIENT, SERVER = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"


class AccessError(WikistyleError):
    """The password can't be used; one line with the remedy."""


def server_settings(port: int, password: str) -> dict[str, str]:
    """What only the server's process needs in its environment.

    deployments.serve refuses other origins before Prefect sees them; these make Prefect refuse them, too.
    """
    access = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_UI_API_URL": "/api",  # the UI's own origin, whichever name the browser has for this machine
    }
    return access | ({SERVER: password} if password else {})


def prepare_clients(password: str) -> None:
    """What commands, workers and runs need in this environment; to be called before Prefect is imported."""
    os.environ.pop(SERVER, None)
    if password:
        os.environ[CLIENT] = password
    os.environ["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "true"


def password(home: Path, wanted: bool) -> tuple[str, str]:
    """(`user:password`, or nothing; what to tell the user of it).

    From the environment (either of Prefect's two names), or else from `home`/password, readable by this user alone.
    That file is made on the first start, and only then the password is told. Raises AccessError when what is asked
    for contradicts itself or the file doesn't hold a password.
    """
    given = {value for name in (SERVER, CLIENT) if (value := os.environ.get(name))}
    if len(given) > 1:
        raise AccessError(f"{SERVER} and {CLIENT} differ; set one of them, or both to the same")
    if not wanted:
        if given:
            raise AccessError(f"--no-password, and yet {SERVER} or {CLIENT} is set; leave one of them out")
        return "", "no password: every user of this machine can use this server"
    if given:
        return _checked(given.pop(), f"{SERVER} or {CLIENT}"), "password: as in the environment"
    path = home / "password"
    if path.exists():
        path.chmod(0o600)
        return _checked(path.read_text().strip(), str(path)), f"password: in {path}"
    made = f"{USER}:{secrets.token_urlsafe(18)}"
    _write_private(path, made)
    return made, f"password, shown this once and kept in {path}: {made}"


def _checked(value: str, source: str) -> str:
    if not all(value.partition(":")) or not value.isascii() or not value.isprintable():
        raise AccessError(f"the password in {source} is not of the form user:password in ASCII; mend or remove it")
    return value


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number, temporary = tempfile.mkstemp(dir=path.parent)  # mode 600
    with os.fdopen(number, "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(number)
    os.replace(temporary, path)

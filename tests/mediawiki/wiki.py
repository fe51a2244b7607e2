"""Install a real MediaWiki (Debian's package, on SQLite and PHP's built-in server) in a folder, and serve it.

Needs: mediawiki php-cli php8.2-cgi php-sqlite3 php-gd librsvg2-bin micro-httpd (the last only so that no Apache comes).
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.waiting import STILL, left_of, run_to_end, tree_of, wait_for, work_of

HERE = Path(__file__).parent
CODE = Path("/usr/share/mediawiki")


def missing() -> str | None:
    """What is not installed, or None when a wiki can be started."""
    lacking = [tool for tool in ("php", "rsvg-convert") if not shutil.which(tool)]
    lacking += [] if (CODE / "api.php").exists() else ["MediaWiki in /usr/share/mediawiki"]
    return ", ".join(lacking) or None


@dataclass(frozen=True)
class Page:
    """A page to write: `text` is wikitext."""

    title: str
    text: str


@dataclass(frozen=True)
class Upload:
    """A file to upload: its name, its bytes, and the wikitext of its page."""

    name: str
    data: bytes
    text: str


class MediaWiki:
    """An installed wiki in `root`; `upload` and `write` fill it, `serve` makes it reachable."""

    def __init__(self, root: Path, name: str = "Test wiki"):
        self.root = root
        for folder in ("db", "images", "cache"):
            (root / folder).mkdir(parents=True)
        options = {
            "dbtype": "sqlite",
            "dbpath": str(root / "db"),
            "dbname": "wiki",
            "confpath": str(root),
            "server": "http://127.0.0.1",
            "scriptpath": "",
            "lang": "en",
            "pass": "a-long-Passw0rd-for-tests",
            "skins": "Vector",
        }
        flags = [part for option, value in options.items() for part in (f"--{option}", value)]
        self._maintain("install.php", "--quiet", *flags, name, "Admin")
        with (root / "LocalSettings.php").open("a") as settings:
            settings.write(f"\nrequire '{HERE / 'settings.php'}';\n")

    def _environment(self, **more: str) -> dict[str, str]:
        own = {"WIKI_ROOT": str(self.root), "MW_CONFIG_FILE": str(self.root / "LocalSettings.php"), "LC_ALL": "C.UTF-8"}
        return os.environ | own | more

    def _maintain(self, script: str, *arguments: str) -> None:
        command = ["php", f"maintenance/{script}", *arguments]
        done = run_to_end(command, cwd=CODE, env=self._environment())
        if done.returncode:
            raise RuntimeError(f"{script} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def upload(self, uploads: list[Upload], time: str = "20240101000000") -> None:
        """Upload files (over those of the same name) as Admin at a time (YYYYMMDDHHMMSS)."""
        folder = self.root / "uploads"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for upload in uploads:
            path = folder / upload.name.replace(" ", "_")
            path.write_bytes(upload.data)
            path.with_suffix(".txt").write_text(upload.text)
        flags = ("--overwrite", "--comment-ext=txt", "--user=Admin", f"--timestamp={time}")
        self._maintain("importImages.php", "--quiet", *flags, str(folder))

    def write(self, pages: list[Page]) -> None:
        """Write pages of one namespace (all titles with the same prefix, such as "Category:")."""
        folder = self.root / "texts"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prefix = pages[0].title.partition(":")[0] + ":" if ":" in pages[0].title else ""
        for page in pages:
            (folder / page.title.removeprefix(prefix)).write_text(page.text)
        paths = [str(path) for path in sorted(folder.iterdir())]
        self._maintain("importTextFiles.php", "--overwrite", f"--prefix={prefix}", *paths)

    def run_jobs(self) -> None:
        """Do what the wiki left for later, such as filing pages under a changed template's categories."""
        self._maintain("runJobs.php", "--quiet")

    @contextmanager
    def serve(self, **environment: str) -> Iterator[str]:
        """Serve on a free port; gives the wiki's address. Ends the server's whole process group: it has workers."""
        url = f"http://127.0.0.1:{_free_port()}"
        variables: Mapping[str, str] = self._environment(WIKI_URL=url, PHP_CLI_SERVER_WORKERS="3", **environment)
        address = url.removeprefix("http://")
        command = ["php", "-d", "memory_limit=256M", "-S", address, "-t", str(CODE), str(HERE / "router.php")]
        with (self.root / "server.log").open("ab") as log:
            server = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            _wait_for(f"{url}/api.php?action=query&meta=siteinfo&format=json", server)
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            assert left_of(tree_of(server.pid)) == []
            server.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"PHP's server ended with status {server.returncode}")
        try:
            return httpx.get(url, timeout=STILL).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, f"answer of {url}", lambda: work_of(tree_of(server.pid)))

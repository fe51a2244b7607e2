"""Every command of the READMEs, by the installed scripts, from a folder that is not the checkout.

A command runs as it is written, but for what would take hours, a GPU or the network: then it runs with more arguments
(less of everything), or on a server of this machine. `CASES` says which test runs which, and why not as it is.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flows.common.settings import ROOT
from tests.commands.installed import SCRIPT, TINY, environment, from_anywhere, shell
from tests.e2e.ports import free_port

pytestmark = pytest.mark.e2e
SAMPLE_RUN = """.venv/bin/wikistyle run --set 'sample.prompts=["a pig face", "an alien"]'"""
DRAW = '.venv/bin/wikistyle draw "a pig face" --strength 0.6 --seed 3'
LOGIN = 'export PREFECT_API_URL=http://127.0.0.1:4200/api PREFECT_API_AUTH_STRING="$(cat .wikistyle/password)"'
CASES = {
    "make demo": "test_make (its recipe alone: `wikistyle run` is below)",
    "make test": "test_make (this is one of its tests)",
    "make coverage": "test_make",
    "make test-fast": "test_make (its recipe alone: a part of `make test`)",
    ".venv/bin/wikistyle profiles": "test_looking_around",
    ".venv/bin/wikistyle run --help": "test_looking_around",
    "cp deployments/profiles/simpsons.yaml mine.yaml": "test_a_wiki_of_ones_own",
    ".venv/bin/wikistyle run --profile mine.yaml": "test_a_wiki_of_ones_own (of a wiki on this machine; no training)",
    SAMPLE_RUN: "test_single_settings_and_parts (one epoch on few pictures)",
    ".venv/bin/wikistyle run --only showcase": "test_single_settings_and_parts (few pictures)",
    ".venv/bin/wikistyle show latest": "test_single_settings_and_parts",
    DRAW: "test_single_settings_and_parts",
    ".venv/bin/wikistyle sample-wiki": "test_a_wiki_of_ones_own",
    ".venv/bin/wikistyle up": "service (on a free port)",
    "wikistyle rehearse": "test_looking_around (its help: SD v1 at its true size takes minutes and 10 GB)",
    "python -m deployments.render": "test_rendering (with --check: what it writes is in the checkout)",
    "wikistyle up": "service (on a free port)",
    "wikistyle up --no-password": "test_a_server_without_a_password (on a free port)",
    LOGIN: "service (its server's address)",
    "wikistyle gc": "test_freeing_space",
    "wikistyle gc --dry-run": "test_freeing_space",
    "export PREFECT_API_URL=https://your-server/api": "test_a_server_of_ones_own (the address of `wikistyle up`)",
    "python -m deployments.server": "test_a_server_of_ones_own",
    "python -m deployments.rename": "test_a_server_of_ones_own",
    "prefect --no-prompt deploy --all": "test_a_server_of_ones_own",
    "prefect worker start --pool wikistyle-cpu": "test_a_server_of_ones_own",
    "prefect worker start --pool wikistyle-gpu --limit 1": "test_a_server_of_ones_own",
}


def commands(text: str) -> list[str]:
    """The lines of shell blocks (fenced with sh, or indented by four), and code within a line that is a command."""
    fenced = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(\S.*)$", prose, re.MULTILINE)
    inline = re.findall(r"`((?:\.venv/bin/)?(?:wikistyle|python -m|prefect|make|docker)\s[^`]+)`", prose)
    lines = [re.sub(r"\s+#\s.*$", "", line).strip() for line in [*fenced, *indented]]
    return [line for line in [*lines, *inline] if line]


@pytest.mark.parametrize("readme", ["README.md", "deployments/README.md"])
def test_every_command_has_a_case(readme):
    found = commands((ROOT / readme).read_text())
    assert len(found) > 5
    assert [command for command in found if command not in CASES] == []


def test_every_case_is_a_command_of_a_readme_and_names_a_test():
    written = {c for readme in ("README.md", "deployments/README.md") for c in commands((ROOT / readme).read_text())}
    assert set(CASES) == written
    assert all(case.split()[0] in globals() for case in CASES.values())


def test_make():
    """What the README's make targets would run, of this environment's commands."""
    tests = "pytest -n 3 --dist loadfile --no-loadscope-reorder"
    fast = f'{tests} -m "not e2e and not server and not slow"'
    cover = "--cov=flows --cov=tasks --cov=deployments --cov-report=term:skip-covered"
    for target, does in (
        ("demo", "wikistyle run --profile sample"),
        ("test", tests),
        ("test-fast", fast),
        ("coverage", f"{fast} {cover}"),
    ):
        command = ["make", "--dry-run", "--assume-old=.venv/installed", target]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip().endswith(f".venv/bin/{does}")
    assert SCRIPT.is_file()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (".venv/bin/wikistyle profiles", "simpsons: https://simpsons.fandom.com/api.php"),
        (".venv/bin/wikistyle run --help", "scrape.rights_basis"),
        ("wikistyle rehearse --help", "at its real size"),
    ],
)
def test_looking_around(tmp_path, command, says):
    done = shell(command, tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_rendering(tmp_path):
    done = shell("python -m deployments.render --check", tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def started(command: str, folder: Path, says: str, **variables: str) -> Iterator[str]:
    """A command that goes on until Ctrl-C; yields the line that `says` it is there."""
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["bash", "-c", f"exec {from_anywhere(command)}"], cwd=folder, env=environment(home, **variables),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if says in line:
            break
    else:
        raise AssertionError(f"{command} ended with status {process.wait()}: {''.join(said)}")
    try:
        yield said[-1]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=90)[0]
    if "wikistyle" in command.split(maxsplit=1)[0]:  # Prefect's own may say 1
        assert process.returncode == 0, rest


def test_a_wiki_of_ones_own(tmp_path):
    """From the copied profile to a dataset: first without, then with the lines that the README asks for."""
    here = tmp_path / "elsewhere"
    assert shell("cp deployments/profiles/simpsons.yaml mine.yaml", here).returncode == 0
    refused = shell(".venv/bin/wikistyle run --profile mine.yaml", here)
    assert refused.returncode == 1
    assert "rights_basis" in refused.stderr
    with started(".venv/bin/wikistyle sample-wiki", here, "The sample wiki is at") as line:
        (api_url,) = re.findall(r"API: (\S+)\)", line)
        assert httpx.get(api_url, params={"action": "query", "meta": "siteinfo", "format": "json"}).status_code == 200
        mine = (here / "mine.yaml").read_text()
        mine = re.sub(r"api_url: .*", f"api_url: {api_url}\n  rights_basis: Drawn for this test.", mine)
        mine = re.sub(r"  category: .*\n", "", mine)
        mine = re.sub(
            r"base_model: .*\n  revision: .*\n  resolution: 512",
            "base_model: samples/models/base\n  resolution: 64",
            mine,
        )
        mine = mine.replace("mixed_precision: bf16", "mixed_precision: auto")
        mine += "caption: {model: samples/models/blip, min_new_tokens: 2, max_new_tokens: 14}\n"
        (here / "mine.yaml").write_text(mine)
        done = shell(f".venv/bin/wikistyle run --profile mine.yaml --only collect {' '.join(TINY)}", here)
    assert done.returncode == 0, done.stderr
    assert "Drawn for this test." in (here / "runs" / "latest" / "dataset" / "README.md").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[tuple[Path, dict[str, str]]]:
    """`wikistyle up` from a folder of its own: that folder, and the environment of commands that use its server."""
    here = tmp_path_factory.mktemp("service") / "elsewhere"
    here.mkdir()
    with started(f".venv/bin/wikistyle up --port {free_port()}", here, "UI: ") as line:
        login = LOGIN.replace("http://127.0.0.1:4200", line.split()[1])
        said = shell(f"{login}; echo $PREFECT_API_URL $PREFECT_API_AUTH_STRING", here).stdout.split()
        yield here, dict(zip(("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"), said, strict=True))


def test_single_settings_and_parts(service):
    here, home = service  # one server for all of these, instead of one started by each
    done = shell(f"{SAMPLE_RUN} {' '.join(TINY)} --json", here, **home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["sample"]["prompts"] == ["a pig face", "an alien"]
    shown = shell(".venv/bin/wikistyle show latest", here)
    assert shown.returncode == 0
    assert str(here / "runs") in shown.stdout
    assert (here / "runs" / "latest" / "gallery" / "index.html").is_file()
    drawn = shell(DRAW, here)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert (here / drawn.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    again = shell(f".venv/bin/wikistyle run --only showcase {' '.join(TINY)}", here, **home)
    assert again.returncode == 0, again.stderr
    assert "showcase" not in again.stdout
    assert "animate" in again.stdout


def test_freeing_space(service):
    here, _ = service
    for command in ("wikistyle gc --dry-run", "wikistyle gc"):
        done = shell(command, here)
        assert done.returncode == 0, done.stderr
        assert "objects" in done.stdout


def test_a_server_without_a_password(tmp_path):
    here = tmp_path / "elsewhere"
    here.mkdir()
    with started(f"wikistyle up --no-password --port {free_port()}", here, "UI: ") as line:
        assert httpx.get(f"{line.split()[1]}/api/admin/version", timeout=60).status_code == 200
    assert not (here / ".wikistyle" / "password").exists()


LIST_WORKERS = """
import asyncio, sys
from prefect import get_client

async def main():
    async with get_client() as client:
        print(*[worker.name for worker in await client.read_workers_for_work_pool(sys.argv[1])], sep="\\n")

asyncio.run(main())
"""


def workers(there: dict[str, str], pool: str) -> list[str]:
    command = [sys.executable, "-c", LIST_WORKERS, pool]
    return subprocess.run(command, env=os.environ | there, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )


def test_a_server_of_ones_own(service):
    here, there = service
    for pool in ("wikistyle-cpu", "wikistyle-gpu --limit 1"):
        with started(f"prefect worker start --pool {pool}", here, "started!", **there) as line:
            (name,) = re.findall(r"Worker '(.*)' started!", line)
            while name not in workers(there, pool.split()[0]):
                time.sleep(0.2)
    deployed = shell(f"cd {ROOT} && prefect --no-prompt deploy --all", here, **there)
    assert deployed.returncode == 0, deployed.stderr
    assert "wikistyle/sample-pipeline" in deployed.stdout
    homeless = shell("python -m deployments.rename", here, **there, PREFECT_HOME=str(here / "empty"))
    assert homeless.returncode == 1
    assert homeless.stderr.startswith("no Prefect server keeps its records at sqlite")
    assert len(homeless.stderr.splitlines()) == 1
    renamed = shell("python -m deployments.rename", here, **there, PREFECT_HOME=str(here / ".wikistyle" / "prefect"))
    assert (renamed.returncode, renamed.stdout, renamed.stderr) == (0, "", "")  # `wikistyle up` had none to rename
    prepared = shell("python -m deployments.server", here, **there)
    assert (prepared.returncode, prepared.stderr) == (0, "")

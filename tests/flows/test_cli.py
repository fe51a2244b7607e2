"""The command line: exit statuses, one-line errors, and help that explains every setting."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.common.settings import ROOT, Settings
from samples.wiki.server import serve
from tests.commands.installed import SCRIPT, shell
from tests.e2e.ports import free_port
from tests.scrape.faults import small_wiki
from tests.waiting import run_to_end


def wikistyle(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "WIKISTYLE_HOME": str(home), "WIKISTYLE_STORE": str(home / "store"), "COLUMNS": "200"}
    code = "from flows.cli import main; main()"
    return run_to_end([sys.executable, "-c", code, *arguments], cwd=ROOT, env=env | environment)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith("wikistyle: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_profiles_are_listed(tmp_path):
    done = wikistyle("profiles", home=tmp_path)
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["sample", "simpsons"]


@pytest.mark.parametrize("name", ["WIKISTYLE_HOEM", "WIKISTYLE_CACHE_GIB"])
def test_a_variable_that_is_unknown_or_wrong_is_wrong_usage(tmp_path, name):
    done = shell(f"{name}=/data {SCRIPT} run", tmp_path / "there")
    assert done.returncode == 2
    assert one_line(done).startswith(f"wikistyle: {name}")
    assert list((tmp_path / "there").iterdir()) == []


def names(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """The dotted names of all settings."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += names(kind, f"{prefix}{name}.") if nested else [prefix + name]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("columns", ["", "60"])
def test_help_gives_each_setting_a_line_with_default_bounds_and_meaning(tmp_path, columns):
    done = wikistyle("run", "--help", home=tmp_path, COLUMNS=columns)
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    for name in names():
        (line,) = [line for line in lines if line.startswith(f"{name} = ")]
        assert re.fullmatch(r"\S+ = .+  \(.+\)  \S.+", line), line
    for line in (
        "finetune.epochs = 60  (whole number, 1 to 10000)  Passes of the UNet over the dataset. At a constant rate "
        "more of them go on where fewer ended.",
        "scrape.timeout = 30.0  (number, over 0, up to 300)  Seconds to wait for an answer: slow wikis render pages on "
        "demand.",
        'finetune.lr_schedule = "constant"  (constant | cosine)  After warm-up: constant, or a cosine to 1 % of the '
        "peak.",
    ):
        assert line in lines
    resolution = next(line for line in lines if line.startswith("finetune.resolution = "))
    assert "(whole number, 32 to 2048, multiple of 8)" in resolution
    height = next(line for line in lines if line.startswith("sample.height = "))
    assert "(whole number or null, 16 or more, multiple of 8)" in height


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "nobody"), "profile nobody is neither a file nor one of"),
        (("run", "--set", "finetune.lr=1"), "setting finetune.lr of profile sample does not exist"),
        (("show", "never"), "run never has no summary.json"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(tmp_path, arguments, message):
    done = wikistyle(*arguments, home=tmp_path)
    assert done.returncode == 2
    assert message in one_line(done)


def test_an_unknown_option_is_status_2(tmp_path):
    assert wikistyle("run", "--fast", home=tmp_path).returncode == 2


def test_a_store_that_cannot_be_written_stops_before_any_stage(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    done = wikistyle("run", home=tmp_path, WIKISTYLE_STORE=str(blocker / "store"))
    assert done.returncode == 1
    assert "can't be written" in one_line(done)


@pytest.mark.parametrize("setting", ["finetune.base_model", "caption.model"])
def test_a_model_that_cannot_be_loaded_stops_before_any_stage(tmp_path, setting):
    done = wikistyle("run", "--set", f"{setting}=nobody/nothing", home=tmp_path)
    assert done.returncode == 1
    assert f"model nobody/nothing ({setting}) can't be loaded (offline" in one_line(done)
    assert not (tmp_path / "prefect" / "prefect.db").exists(), "no server was started for it"


def test_a_part_without_its_forerunner_says_what_to_run_first(tmp_path):
    done = wikistyle("run", "--only", "showcase", home=tmp_path)
    assert done.returncode == 1
    assert "run `wikistyle run --profile sample --only collect` first" in one_line(done)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("scrape.api_url=https://wiki.example/api.php", "say in rights_basis, in one sentence, why you may use its"),
        ("dataset.repo_id=me/drawings", "set dataset.takedown_contact to an address"),
        ("finetune.optimizer=adamw8bit", "needs bitsandbytes, which is not installed"),
        ("finetune.lpips_weights=nowhere.safetensors", "finetune.lpips_weights nowhere.safetensors is no file"),
    ],
)
def test_what_the_settings_tell_is_told_before_anything_starts(tmp_path, setting, says):
    done = wikistyle("run", "--set", setting, home=tmp_path)
    assert done.returncode == 1
    assert says in one_line(done)
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "Prefect would have made its home"


@pytest.mark.slow
def test_the_command_after_a_failure_is_the_users_own_and_runs(tmp_path):
    """Typed in another folder, with what a shell would take apart; then pasted as it was printed."""
    port, here = free_port(), tmp_path / "else where"
    here.mkdir()
    (here / "my own.yaml").write_text((ROOT / "deployments" / "profiles" / "sample.yaml").read_text())
    typed = [
        str(SCRIPT), "run", "--profile", "my own.yaml", "--set", f"scrape.api_url=http://127.0.0.1:{port}/api.php",
        "--set", "scrape.backoff=0.01", "--set", "dataset.title=It's \"mine\" & $HOME", "--only", "collect",
        "--run-dir", "the run", "--json",
    ]  # fmt: skip
    failed = shell(shlex.join(typed), here)
    assert failed.returncode == 1
    line = one_line(failed)
    assert f"http://127.0.0.1:{port} can't be reached" in line
    (command,) = re.findall(r"once mended, `(.*)` goes on from there", line)
    assert shlex.split(command)[1:] == typed[1:]
    with serve(port=port, wiki=small_wiki(6)):
        done = shell(command, here)
    assert done.returncode == 0, done.stderr
    stages = ["scrape", "convert", "caption", "dataset"]
    summary = json.loads(done.stdout)
    assert list(summary["stages"]) == stages
    assert summary["settings"]["dataset"]["title"] == 'It\'s "mine" & $HOME'
    assert summary["dataset"]["rows"] + len(summary["rejects"]) == summary["wiki"]["listed"]
    assert (here / "the run" / "dataset" / "README.md").exists()
    told = [line for line in done.stderr.splitlines() if re.match(r"\w+: (started|done)", line)]
    assert [line.split(" in ")[0] for line in told] == [f"{s}: {what}" for s in stages for what in ("started", "done")]
    shown = shell(shlex.join([str(SCRIPT), "show", "the run"]), here)
    assert shown.returncode == 0
    assert "caption" in shown.stdout

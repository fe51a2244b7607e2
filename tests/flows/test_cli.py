"""The command line: exit statuses, one-line errors, and help that explains every setting."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.settings import ROOT
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


def test_help_explains_each_setting_with_its_default(tmp_path):
    done = wikistyle("run", "--help", home=tmp_path)
    assert done.returncode == 0
    assert "finetune.epochs = 60" in done.stdout
    assert "Passes of the UNet over the dataset" in done.stdout
    assert "scrape.rights_basis" in done.stdout


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


def test_an_unreachable_wiki_names_itself_and_how_to_retry(tmp_path):
    done = wikistyle(
        "run", "--set", "scrape.api_url=http://127.0.0.1:9/api.php", "--set", "scrape.attempts=2",
        "--set", "scrape.backoff=0.01", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    line = one_line(done)
    assert "http://127.0.0.1:9" in line
    assert "can't be reached" in line
    assert "scrape" in line
    assert "--only collect" in line


def test_collect_alone_and_show(tmp_path):
    folder = tmp_path / "run"
    done = wikistyle(
        "run", "--only", "collect", "--set", "scrape.max_images=8", "--run-dir", str(folder), "--json", home=tmp_path
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["dataset"]["rows"] + len(summary["rejects"]) == summary["wiki"]["listed"]
    assert (folder / "dataset" / "README.md").exists()
    shown = wikistyle("show", str(folder), home=tmp_path)
    assert shown.returncode == 0
    assert "caption" in shown.stdout

"""CONTRIBUTING.md: its commands are there, and its example of a stage runs when it is typed in as written."""

import importlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from PIL import Image

import flows
import tasks
import tests
from flows.common.settings import ROOT
from tasks.common.store import Store

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLE: dict[str, str] = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
MODULES = [path.removesuffix(".py").replace("/", ".") for path in EXAMPLE]


@pytest.fixture
def example(tmp_path, monkeypatch) -> Iterator[None]:
    """The blocks as files of the packages they are for, in a folder of this test's own."""
    for path, code in EXAMPLE.items():
        assert not (ROOT / path).exists(), "the example must not hide a stage that there is"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(code, encoding="utf-8")
    for package in (flows, tasks, tests):
        inside = tmp_path / package.__name__
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(inside)])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in MODULES or name in {module.rpartition(".")[0] for module in MODULES}:
            del sys.modules[name]


def test_every_block_is_a_file_of_the_example():
    assert TEXT.count("```python") == len(EXAMPLE)
    stage = ["tasks/grey/settings.py", "tasks/grey/grey.py", "tasks/grey/task.py"]
    assert list(EXAMPLE) == [*stage, "flows/grey.py", "tests/grey/test_grey.py"]


def jpeg(grey_rows: int, red: int = 200) -> str:
    """The key of a JPEG of 64 × 64 px, the first rows of them grey."""
    picture, out = Image.new("RGB", (64, 64), (red, 30, 30)), io.BytesIO()
    picture.paste((128, 128, 128), (0, 0, 64, grey_rows))
    picture.save(out, "JPEG", quality=95, subsampling=0)
    return Store().put(out.getvalue())


def test_the_examples_stage_measures_only_what_is_new(prefect, example):
    grey = importlib.import_module("flows.grey").grey
    settings = importlib.import_module("tasks.grey.settings").GreySettings()
    measured = importlib.import_module("tasks.grey.task").grey_batch

    def run(keys: list[str], settings) -> list[int]:
        report = grey(keys, settings)
        assert (report.stage, report.items_in, report.items_out) == ("grey", len(keys), len(keys))
        return [report.cached, report.ran]

    keys = [jpeg(0), jpeg(16), jpeg(64)]
    assert run(keys, settings) == [0, 3]
    assert [measured.known(keys, settings)[key].share for key in keys] == [0, 0.25, 1]
    assert run(keys, settings) == [3, 0]
    assert run([*keys, jpeg(32)], settings) == [3, 1]
    assert run(keys, settings.model_copy(update={"tolerance": 255})) == [0, 3]
    assert [result.share for result in measured.known(keys, type(settings)(tolerance=255)).values()] == [1, 1, 1]


def test_the_examples_test_passes_as_written_and_can_fail(example, monkeypatch):
    module = importlib.import_module("tests.grey.test_grey")
    check = module.test_the_share_of_grey_is_what_was_painted
    (mark,) = check.pytestmark
    for grey_rows in mark.args[1]:
        check(grey_rows)
    monkeypatch.setattr(module, "GreySettings", type("Off", (), {"tolerance": -1}))
    with pytest.raises(AssertionError):
        check(64)


@pytest.mark.parametrize("command", ["check", "format --check"])
@pytest.mark.parametrize("path", EXAMPLE)
def test_the_example_is_as_tidy_as_the_rest(path, command):
    ours = 'lint.isort.known-first-party = ["flows", "tasks"]'  # else by whether the imported file is there
    ruff = [sys.executable, "-m", "ruff", *command.split(), "--config", ours, "--stdin-filename", path, "-"]
    done = subprocess.run(ruff, cwd=ROOT, input=EXAMPLE[path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_target_is_in_the_makefile():
    lines = re.findall(r"(?:^|`)make ([a-z./ -]+?)(?:`|  |$)", TEXT, re.MULTILINE)
    targets = {target for line in lines for target in line.split()}
    assert targets >= {".venv/installed", "hooks", "test-fast", "test", "lint", "types"}
    subprocess.run(["make", "--dry-run", *sorted(targets)], cwd=ROOT, capture_output=True, check=True)

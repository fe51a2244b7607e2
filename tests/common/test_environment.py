"""`WIKISTYLE_*`: read as they are now, refused in one line, and all told in the table."""

import re
import subprocess
from pathlib import Path

import pytest

from flows.common.settings import ROOT
from tasks.common.environment import PREFIX, Environment, VariableError, environment

KNOWN = {PREFIX + field.upper(): field for field in Environment.model_fields}


def test_each_variable_is_read_when_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("WIKISTYLE_HOME", "/a")
    assert environment().home == Path("/a")
    monkeypatch.setenv("WIKISTYLE_HOME", "/b")
    monkeypatch.setenv("WIKISTYLE_STORE", "s3://bucket/place")
    monkeypatch.setenv("WIKISTYLE_CACHE_GIB", "0.5")
    monkeypatch.setenv("WIKISTYLE_TRACEBACK", "1")
    monkeypatch.setenv("WIKISTYLE_WEBHOOK_URL", "https://chat.example/hook?secret=1")
    now = environment()
    assert (now.home, now.store, now.cache_gib, now.traceback) == (Path("/b"), "s3://bucket/place", 0.5, True)
    assert now.webhook_url
    assert str(now.webhook_url.get_secret_value()) == "https://chat.example/hook?secret=1"
    assert "secret=1" not in repr(now)


def test_what_is_not_set_or_empty_has_its_default(monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    defaults = environment()
    assert (defaults.home, defaults.store, defaults.runs) == (Path(".wikistyle"), ".wikistyle/store", Path("runs"))
    for name in KNOWN:
        monkeypatch.setenv(name, "")
    assert environment() == defaults


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WIKISTYLE_CACHE_GIB", "ten", r"WIKISTYLE_CACHE_GIB: .*number"),
        ("WIKISTYLE_CACHE_GIB", "-1", r"WIKISTYLE_CACHE_GIB: .*greater than or equal to 0"),
        ("WIKISTYLE_CACHE_GIB", "inf", r"WIKISTYLE_CACHE_GIB: .*finite"),
        ("WIKISTYLE_SECOND_WAVE", "perhaps", r"WIKISTYLE_SECOND_WAVE: .*boolean"),
        ("WIKISTYLE_WEBHOOK_URL", "chat/hook-s3cret", r"WIKISTYLE_WEBHOOK_URL: .*URL"),
        ("WIKISTYLE_HOEM", "/data", r"WIKISTYLE_HOEM is no variable of wikistyle; did you mean WIKISTYLE_HOME\?"),
        ("WIKISTYLE_EPOCHS", "3", r"WIKISTYLE_EPOCHS is no variable of wikistyle"),
    ],
)
def test_a_wrong_or_unknown_one_is_named_in_one_line(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(VariableError, match=told) as error:
        environment()
    assert "\n" not in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("name", ["SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_4200_TCP_ADDR", "SERVER_SERVICE_HOST"])
def test_what_kubernetes_sets_for_a_service_of_that_name_is_let_pass(monkeypatch, name):
    monkeypatch.setenv(PREFIX + name, "tcp://10.0.0.1:4200")
    environment()


def test_the_table_tells_of_all_and_of_no_others():
    table = (ROOT / "docs/environment.md").read_text()
    for name, field in KNOWN.items():
        told = Environment.model_fields[field]
        default = {None: "none", False: "off"}.get(told.default, f"`{told.default}`")
        assert f"| `{name}` | {default} | {told.description} |\n" in table, name
    assert set(re.findall(rf"`({PREFIX}\w+)`", table)) == set(KNOWN)


def test_nothing_else_is_spoken_of_or_read_elsewhere():
    """In code and documentation; only one module reads them."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    read = re.compile(rf"environ(\.get\(|\[)\"{PREFIX}\w+\"(?!\] =)")
    for name in done.stdout.splitlines():
        if not name.endswith((".py", ".md", ".yaml", ".json", ".cpu", ".gpu")) or name.startswith("tests/"):
            continue
        text = (ROOT / name).read_text()
        assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) <= set(KNOWN) | {PREFIX}, name
        assert not read.search(text) or name.startswith("benchmarks/"), name

"""Where the folders of runs lie."""

from pathlib import Path

from flows.common.run_folder import new_folder


def test_run_folders_lie_where_the_environment_says(monkeypatch, tmp_path):
    """In a container the current folder ends with it."""
    monkeypatch.setenv("WIKISTYLE_RUNS", str(tmp_path))
    assert new_folder("sample").parent == tmp_path
    monkeypatch.delenv("WIKISTYLE_RUNS")
    assert new_folder("sample").parent == Path("runs")

"""The house: which room may import which, and how large a module and a function may grow."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("scrape", "convert", "caption", "dataset", "finetune", "sample", "measure", "animate")
# A room may import itself, and those after the colon.
MAY_IMPORT = {
    "tasks/common": set(),
    "tasks/diffusion": {"tasks/common"},
    **{f"tasks/{stage}": {"tasks/common", "tasks/diffusion"} for stage in STAGES},
    "flows/common": {"tasks/common", "tasks/diffusion", "samples", *(f"tasks/{stage}" for stage in STAGES)},
}
MOST_LINES, MOST_OF_A_FUNCTION, MOST_ARGUMENTS = 300, 50, 7
# Names that were ours alone, or meant several things; the field's and Prefect's own words stand in their place.
NOT_OUR_WORDS = {"story", "stories", "trainee", "ledger", "drawer", "news", "board", "shown"}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room_of(module: str) -> str:
    """`tasks.finetune.training.loop` → `tasks/finetune`; `flows.collect` → `flows`."""
    parts = module.split(".")
    if parts[0] == "tasks" and len(parts) > 1:
        return "/".join(parts[:2])
    return "flows/common" if parts[:2] == ["flows", "common"] else parts[0]


def imported(path: Path) -> set[str]:
    """Every module of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("flows", "tasks", "deployments", "samples", "tests")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_one_way(room):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imported(path)
        if room_of(name) not in MAY_IMPORT[room] | {room}
    ]
    assert wrong == []


def test_nothing_imports_a_flow_but_flows_and_deployments():
    files = modules("tasks", "flows/common", "samples")
    wrong = [str(path.relative_to(ROOT)) for path in files for name in imported(path) if room_of(name) == "flows"]
    assert wrong == []


def test_only_a_stages_task_knows_prefect():
    files = [path for path in modules("tasks") if path.parent.name != "common" and path.name != "task.py"]
    wrong = [
        str(path.relative_to(ROOT))
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "prefect")
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "prefect" for a in node.names))
    ]
    assert wrong == []


def words_in(name: str) -> set[str]:
    """`StoryFailed` → story, failed; the name of a test is a sentence, in which words have their plain sense."""
    if name.startswith("test_"):
        return set(name.split("_")) & {"story", "stories"}
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+", name)}


def test_names_are_the_fields_words():
    found = []
    for path in modules("flows", "tasks", "deployments", "benchmarks", "tests"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        defined = [n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        found += [
            f"{path.relative_to(ROOT)}: {name}" for name in [path.stem, *defined] if NOT_OUR_WORDS & words_in(name)
        ]
    assert found == []


def test_no_module_and_no_function_is_too_long():
    long = []
    for path in modules("flows", "tasks", "deployments", "samples", "benchmarks", "tests"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            long.append(f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines")
        long += [
            f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.end_lineno
            and node.end_lineno - node.lineno + 1 > MOST_OF_A_FUNCTION
        ]
    assert long == []


def test_no_function_takes_too_many_arguments():
    many = []
    for path in modules("flows", "tasks", "deployments", "samples", "benchmarks", "tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
                if len(names) > MOST_ARGUMENTS:
                    many.append(f"{path.relative_to(ROOT)}: {node.name} takes {len(names)}")
    assert many == []


def test_all_errors_have_one_root():
    """So that a command line knows what was raised on purpose."""
    other = []
    for path in modules("flows", "tasks", "deployments"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name != "WikistyleError":
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                if bases & {"Exception", "RuntimeError", "ValueError", "TypeError", "OSError", "KeyError"}:
                    other.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert other == []

"""The pages about the house name what is there: every path, every name of the code, every import."""

import ast
import importlib
import inspect
import re

import pytest

from flows.common.settings import ROOT
from flows.common.stage import Stage
from tasks.common.caching import cached_task
from tasks.common.mapped import mapped_task
from tasks.dataset.task import build
from tests.commands.test_contributing import EXAMPLE

PAGES = [
    "README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/seam.md", "docs/measures.md", "docs/films.md",
]  # fmt: skip
TOPS = ("flows", "tasks", "deployments", "samples", "tests", "benchmarks", "docs")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code(page: str) -> list[ast.AST]:
    """Every node of the page's Python blocks."""
    blocks = re.findall(r"^```python\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)
    return [node for block in blocks for node in ast.walk(ast.parse(block))]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_the_text_exists(page):
    prose = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(rf"`((?:{'|'.join(TOPS)})/[^`<> ]*)`", prose) + re.findall(r"\]\(([^):#]+)\)", prose)
    assert named
    beside = (ROOT / page).parent
    missing = {name for name in named if not (ROOT / name).exists() and not (beside / name).exists()}
    assert missing == set()


def rooms() -> set[str]:
    """The folders of the page's drawing: indented ones lie in the one above, those after "name/   " in that one."""
    (drawing,) = re.findall(r"^## Rooms\n\n```\n(.*?)^```", read("docs/architecture.md"), re.MULTILINE | re.DOTALL)
    found, top, last = set[str](), "", ""
    for line in drawing.splitlines():
        depth, names = len(line) - len(line.lstrip()), re.findall(r"(?<!\S)(\w+)/(?=\s|$)", line)
        if depth == 0 and names:
            found.update(names)
            top = names[0]
        elif depth == 2 and "(" in line:  # "finetune/   training/ (…), process/ (…)"
            last = f"{top}/{names[0]}"
            found |= {last, *(f"{last}/{name}" for name in names[1:])}
        elif depth == 2:
            found |= {f"{top}/{name}" for name in names}
        else:
            found |= {f"{last}/{name}" for name in names}
    return found


def test_the_rooms_drawn_are_the_rooms_there_are():
    drawn = rooms()
    assert [room for room in sorted(drawn) if not (ROOT / room).is_dir()] == []
    files = [path for top in ("flows", "tasks") for path in (ROOT / top).rglob("__init__.py")]
    packages = {str(path.parent.relative_to(ROOT)) for path in files}
    assert packages - drawn == {"tasks/common/garbage"}, "drawn as far as a reader needs"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/seam.md"])
def test_every_import_of_the_code_exists(page):
    example = {path.removesuffix(".py").replace("/", ".") for path in EXAMPLE}
    imports = [(str(node.module), node.names) for node in code(page) if isinstance(node, ast.ImportFrom)]
    ours = [(module, names) for module, names in imports if module.split(".")[0] in TOPS and module not in example]
    assert len(ours) > 3
    for module, names in ours:
        assert all(hasattr(importlib.import_module(module), alias.name) for alias in names), module


def test_the_seams_table_names_what_its_modules_have():
    rows = re.findall(r"^\| `(\S+)\.py` `@?(\w+)` \|", read("docs/seam.md"), re.MULTILINE)
    assert len(rows) == 4
    assert all(hasattr(importlib.import_module(path.replace("/", ".")), name) for path, name in rows)


def test_the_seams_code_calls_what_there_is():
    """Arguments of the decorators, the methods of a stage, and `build` as it really is."""
    page, nodes = read("docs/seam.md"), code("docs/seam.md")
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    decorators = {call.func.id: call for call in calls if isinstance(call.func, ast.Name)}
    for decorator in (mapped_task, cached_task):
        call, signature = decorators[decorator.__name__], inspect.signature(decorator)
        signature.bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
    for keyword, decorator in (("keys", mapped_task), ("verified", mapped_task), ("always", cached_task)):
        assert f"`{keyword}=" in page
        assert keyword in inspect.signature(decorator).parameters
    used = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)} - {"read"}
    assert used == {"map", "run", "done"}
    assert all(hasattr(Stage, name) for name in (*used, "amap"))
    (shown,) = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "build")
    assert [argument.arg for argument in shown.args.args] == list(inspect.signature(build.task.fn).parameters)

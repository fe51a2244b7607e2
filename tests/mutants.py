"""mutmut over the formulas (`pyproject.toml`, tool.mutmut): `python tests/mutants.py run`, `results`, `show`, `browse`.

As `mutmut` itself, but for two things: what is decorated with `torch.no_grad()` is mutated as well, half of our
formulas are; and a text has one mutant instead of three, as one in capitals shows nothing that another doesn't.
"""

import sys
from collections.abc import Iterable

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation import mutators
from mutmut.mutation.file_mutation import MutationVisitor

NO_GRAD = cst.parse_expression("torch.no_grad()")
skips = MutationVisitor._skip_node_and_children
texts = mutators.operator_string


def skips_but_no_grad(self: MutationVisitor, node: cst.CSTNode) -> bool:
    """mutmut passes over every decorated function, because a decorator may do anything; this one does nothing."""
    if isinstance(node, cst.FunctionDef) and all(d.decorator.deep_equals(NO_GRAD) for d in node.decorators):
        node = node.with_changes(decorators=())
    return skips(self, node)


def one_text(node: cst.BaseString) -> Iterable[cst.BaseString]:
    yield from list(texts(node))[:1]


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: as modules of the mutants' copy of it the tests are to be found
    MutationVisitor._skip_node_and_children = skips_but_no_grad
    mutators.mutation_operators[:] = [  # type: ignore[index]
        (kind, one_text if operator is texts else operator) for kind, operator in mutators.mutation_operators
    ]
    cli()

"""The checklist of real clients is complete: no line without its test, no mark without its line."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.checklist import CHECKLIST

TESTS = Path(__file__).parents[1]


def marks(decorators: list[ast.expr]) -> Iterator[ast.Call]:
    for each in decorators:
        if isinstance(each, ast.Call) and ast.unparse(each.func).startswith("pytest.mark."):
            yield each


def proofs() -> Iterator[tuple[str, str]]:
    """(name of a line, test that claims to prove it)"""
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for mark in marks(node.decorator_list):
                    if ast.unparse(mark.func) == "pytest.mark.checklist":
                        yield from ((ast.literal_eval(name), f"{file.name}::{node.name}") for name in mark.args)


def test_each_line_of_the_checklist_has_a_test_and_each_mark_a_line() -> None:
    proved: dict[str, list[str]] = {}
    for name, test in proofs():
        proved.setdefault(name, []).append(test)
    assert sorted(proved) == sorted(CHECKLIST)

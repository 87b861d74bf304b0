"""Every fault point of the product, read from its source: a new one is covered, or fails the suite, by being there."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import customhouse

SOURCE = Path(customhouse.__file__).parent


@dataclass(frozen=True)
class Point:
    """A literal name, or the pattern of one that is put together at run time."""

    text: str
    pattern: str
    where: str

    def matches(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


def points() -> list[Point]:
    """All `point(...)` and `faults.point(...)` calls, each name once, in order."""
    found: dict[str, Point] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name == "faults.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and _is_point(node.func):
                where = f"{file.relative_to(SOURCE)}:{node.lineno}"
                made = _read(node.args[0], where)
                found.setdefault(made.text, made)
    return [found[text] for text in sorted(found)]


def _is_point(called: ast.expr) -> bool:
    return (isinstance(called, ast.Name) and called.id == "point") or (
        isinstance(called, ast.Attribute) and called.attr == "point"
        and isinstance(called.value, ast.Name) and called.value.id == "faults"
    )


def _read(argument: ast.expr, where: str) -> Point:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return Point(argument.value, re.escape(argument.value), where)
    assert isinstance(argument, ast.JoinedStr), f"{where}: the name of a point is a text"
    parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in argument.values]
    return Point(
        "".join(part if part is not None else "{}" for part in parts),
        "".join(re.escape(part) if part is not None else r"[a-z_]+" for part in parts), where,
    )

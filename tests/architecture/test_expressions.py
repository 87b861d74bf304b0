"""Regular expressions that mean the same in every Python that is supported."""

import ast
import re
from pathlib import Path

import customhouse

SOURCE = Path(customhouse.__file__).parent
COMPILING = {f"re.{name}" for name in ("compile", "search", "match", "fullmatch", "sub", "split", "finditer")}
# Possessive repeats and atomic groups, which the first releases of Python 3.11 get wrong: Debian 12 has 3.11.2.
NOT_EVERYWHERE = ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")


def expressions() -> list[tuple[str, str | bytes, int]]:
    """Where, what is compiled, and its flags: every constant first argument of a function of `re`."""
    found: list[tuple[str, str | bytes, int]] = []
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in COMPILING and node.args:
                first, verbose = node.args[0], "VERBOSE" in ast.unparse(node) or "re.X" in ast.unparse(node)
                if isinstance(first, ast.Constant) and isinstance(first.value, str | bytes):
                    found.append((f"{file.relative_to(SOURCE)}:{node.lineno}", first.value, re.VERBOSE * verbose))
    return found


def uses(pattern: str | bytes, flags: int = 0) -> list[str]:
    parsed = str(re._parser.parse(pattern, flags))  # type: ignore[attr-defined]
    return [name for name in NOT_EVERYWHERE if name in parsed]


def test_no_expression_needs_a_newer_python_than_debians() -> None:
    assert uses("(?:a++b)*") == ["POSSESSIVE_REPEAT"]
    assert uses(rb"(?>a|b)c") == ["ATOMIC_GROUP"]
    assert len(expressions()) > 20
    assert [(where, pattern) for where, pattern, flags in expressions() if uses(pattern, flags)] == []

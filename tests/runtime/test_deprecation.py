"""Deprecated functions warn, and are removed in the version that they name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import posemoe_edge
import pytest
from posemoe_edge.runtime.deprecation import deprecated

ROOT = Path(__file__).parents[2]
LAYERS = ("edge", "export", "calib", "runtime")


def versions_of_removal(source: str) -> Iterator[tuple[str, str]]:
    """(function, remove_in) of each function that ``deprecated`` decorates."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "deprecated":
                arguments = dict(zip(("since", "remove_in"), call.args, strict=False))
                arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
                yield node.name, ast.literal_eval(arguments["remove_in"])


def numbers(version: str) -> tuple[int, ...]:
    """(0, 10, 0) of "0.10.0"."""
    return tuple(int(part) for part in version.split("."))


def test_a_deprecated_function_works_and_warns_where_it_is_called() -> None:
    @deprecated("0.1.0", "0.3.0", instead="sum()")
    def add(a: int, *, b: int) -> int:
        """The sum."""
        return a + b

    with pytest.warns(
        DeprecationWarning, match=r"add is deprecated since 0\.1\.0 .* removed in 0\.3\.0: use sum\(\)"
    ) as caught:
        assert add(1, b=2) == 3
    assert caught[0].filename == __file__
    assert add.__doc__ == "The sum."


def test_the_search_finds_decorated_functions() -> None:
    source = """
@deprecation.deprecated("0.2.0", remove_in="0.10.0", instead="new")
def old(): ...

class A:
    @deprecated("0.2.0", "0.3.0", instead="new")
    def method(self): ...

def current(): ...
"""
    assert list(versions_of_removal(source)) == [("old", "0.10.0"), ("method", "0.3.0")]
    assert numbers("0.9.1") < numbers("0.10.0")


def test_nothing_is_left_that_this_version_was_to_remove() -> None:
    overdue = {
        f"{path.relative_to(ROOT)}: {name}"
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        for name, remove_in in versions_of_removal(path.read_text())
        if numbers(posemoe_edge.__version__) >= numbers(remove_in)
    }
    assert not overdue

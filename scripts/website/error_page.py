"""The page of exit codes and errors, from the error classes and their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from posemoe_edge.edge.cli.output import INTERRUPTED
from posemoe_edge.runtime.errors import PoseEdgeError

PAGE = "reference/errors.md"
_INTRO = """# Exit codes and errors

Every message says what happened, what was expected, and which command to run. Python raises these classes of `posemoe_edge`;
a verb of the command line ends with their exit code, and with `--json` it prints the error as an object: `error` (the class),
`what`, `expected`, `run` and `exit_code`.
"""


def error_page() -> str:
    """The page's text."""
    classes = list(_subclasses(PoseEdgeError))
    by_code = {code: [kind for kind in classes if kind.exit_code == code] for code in sorted({k.exit_code for k in classes})}
    rows = [
        f"| {code} | {', '.join(f'[`{kind.__name__}`](#{kind.__name__.lower()})' for kind in by_code[code])} |"
        for code in by_code
    ]
    table = "\n".join(["| exit code | error |", "| --- | --- |", "| 0 | none |", *rows, f"| {INTERRUPTED} | interrupted |"])
    return f"{_INTRO}\n{table}\n" + "".join(_section(kind) for kind in classes)


def _subclasses(kind: type[PoseEdgeError]) -> Iterator[type[PoseEdgeError]]:
    """The public ones, depth first."""
    for subclass in sorted(kind.__subclasses__(), key=lambda each: (each.exit_code, each.__name__)):
        if subclass.__module__ == PoseEdgeError.__module__:
            yield subclass
        yield from _subclasses(subclass)


def _section(kind: type[PoseEdgeError]) -> str:
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    return f"\n## {kind.__name__}\n\nExit code {kind.exit_code}. A {bases}.\n\n{inspect.getdoc(kind)}\n"

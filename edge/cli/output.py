"""What a verb says: text for people on stderr, one JSON object on stdout, and the exit code."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...runtime.errors import MissingError, PoseEdgeError
from .config import check_options

INTERRUPTED = 130


@dataclass
class Result:
    """What a verb found: the JSON object, and the exit code (0, or 1 for a check that failed)."""

    data: dict[str, Any]
    exit_code: int = 0
    next_command: str | None = None


@dataclass
class Output:
    """How a verb talks. With ``--json`` stdout holds one object and nothing else."""

    as_json: bool
    verbose: bool
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    def print(self, text: str = "") -> None:
        """A line for people."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A line that people should not miss."""
        self.console.print(f"Warning: {text}", style="yellow", markup=False)

    def stage(self, name: str, seconds: float, size: int | None = None) -> None:
        """A stage that is over, with how long it took and what it weighs."""
        weight = f"  {megabytes(size)}" if size is not None else ""
        self.print(f"  {name:<24} {seconds:6.1f} s{weight}")

    @contextmanager
    def progress(self, label: str, total: int | None, unit: str = "frames") -> Iterator[Callable[[int], None]]:
        """A progress bar on stderr; gives the function that moves it on. Silent where nobody watches."""
        columns = (
            TextColumn("  {task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(label, total=total)
            yield lambda n: progress.advance(task, n)


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def verb(function: Callable[..., Result]) -> Callable[..., None]:
    """Make a verb of a function: give it ``--json`` and ``-v``, print what it found, turn its errors into exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout; text for people goes to stderr.")
    @click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def run(*args: Any, as_json: bool, verbose: bool, **options: Any) -> None:
        out = Output(as_json, verbose)
        try:
            check_options(click.get_current_context())
            result = function(out, *args, **options)
        except PoseEdgeError as error:
            _fail(out, error)
        except KeyboardInterrupt:
            out.print("interrupted")
            if as_json:
                click.echo(json.dumps({"error": "Interrupted", "exit_code": INTERRUPTED}, indent=1))
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.exit(0)
        except OSError as error:  # the disk is full, a folder is not writable: the message names it
            _fail(out, MissingError(str(error), expected="a place that can be read and written"))
        else:
            if as_json:
                click.echo(json.dumps(result.data, indent=1))
            if result.next_command:
                out.print(f"\nNext: {result.next_command}")
            sys.exit(result.exit_code)

    return run


def _fail(out: Output, error: PoseEdgeError) -> None:
    """Print an error once, at the edge."""
    if out.verbose:
        traceback.print_exc()
    out.console.print(f"Error: {error.what}", style="red", markup=False)
    if error.expected:
        out.print(f"  expected: {error.expected}")
    if error.run:
        out.print(f"  run:      {error.run}")
    if out.as_json:
        click.echo(as_record(error))
    sys.exit(error.exit_code)


def as_record(error: PoseEdgeError) -> str:
    """The error as a JSON object."""
    record = {"error": type(error).__name__, "what": error.what, "expected": error.expected, "run": error.run}
    return json.dumps(record | {"exit_code": error.exit_code}, indent=1)

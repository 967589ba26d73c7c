"""The output of a verb: text for people on stderr, one JSON object on stdout, and the exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import click
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ...runtime.destination import discard_descriptor
from ...runtime.errors import MissingError, PoseEdgeError
from .config import check_options
from .ending import Terminated

INTERRUPTED = 130


@dataclass
class Result:
    """The result of a verb.

    Args:
        data: the JSON object of ``--json``.
        exit_code: 0, or 1 for a check that failed.
        next_command: printed at the end, ready to paste.
    """

    data: dict[str, Any]
    exit_code: int = 0
    next_command: str | None = None


class Stderr:
    """Stderr, whose text is lost once nobody reads it any more, as after a closed pipe or terminal: no reason to end a run."""

    def __init__(self) -> None:
        self._stream = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  (for the process; None if it was closed before)

    def write(self, text: str) -> int:
        with self._survived():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._survived():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            discard_descriptor(self._stream.fileno())  # for others too


def _console() -> Console:
    return Console(file=cast("IO[str]", Stderr()), highlight=False, soft_wrap=True)


@dataclass
class Output:
    """Where a verb prints: text goes to stderr, so that with ``--json`` stdout holds one object and nothing else."""

    as_json: bool
    verbose: bool
    console: Console = field(default_factory=_console)

    def print(self, text: str = "") -> None:
        """Print a line of text."""
        self.console.print(text, markup=False)

    def failed(self, text: str) -> None:
        """Print the verdict of a check that failed."""
        self.console.print(text, style="bold red", markup=False)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.console.print(f"Warning: {text}", style="yellow", markup=False)

    def stage(self, name: str, seconds: float, size: int | None = None) -> None:
        """Print a completed stage with its duration and the size of its result in bytes."""
        size_text = f"  {megabytes(size)}" if size is not None else ""
        self.print(f"  {name:<24} {seconds:6.1f} s{size_text}")

    @contextmanager
    def progress(
        self, label: str, total: int | None, unit: str = "frames", *, rate: Callable[[], str] = lambda: ""
    ) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on stderr if that is a terminal. Gives the function that advances it by n.

        Args:
            rate: how fast it goes, asked whenever the bar is drawn.
        """
        columns = (
            TextColumn("  {task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            _RateColumn(rate),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(label, total=total)
            yield lambda n: progress.advance(task, n)

    @contextmanager
    def live(self, text: Callable[[], str]) -> Iterator[None]:
        """Keep the lines of ``text()`` up to date below what is printed, if stderr is a terminal."""
        with (
            Live(
                get_renderable=lambda: Text(text()),
                console=self.console,
                transient=True,
                redirect_stdout=False,  # it may be a sink's
            )
            if self.console.is_terminal
            else nullcontext()
        ):
            yield


class _RateColumn(ProgressColumn):
    """A text of a progress bar that changes as it goes."""

    def __init__(self, rate: Callable[[], str]) -> None:
        super().__init__()
        self._rate = rate

    def render(self, task: Task) -> Text:
        return Text(self._rate())


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """A number with its noun: 1 person, 2 people."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def megabytes(size: int) -> str:
    """A size in bytes as text in MB or kB."""
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def verb(function: Callable[..., Result]) -> Callable[..., None]:
    """Make a function the callback of a verb: add ``--json`` and ``-v``, print its result, turn its errors into exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout; text goes to stderr.")
    @click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def run(*args: Any, as_json: bool, verbose: bool, **options: Any) -> None:
        out = Output(as_json, verbose)
        try:
            check_options(click.get_current_context())
            result = function(out, *args, **options)
        except PoseEdgeError as error:
            _fail(out, error)
        except KeyboardInterrupt as interrupt:
            exit_code = 0 if isinstance(interrupt, Terminated) else INTERRUPTED
            out.print("interrupted")
            if as_json:
                click.echo(json.dumps({"error": "Interrupted", "exit_code": exit_code}, indent=1))
            sys.exit(exit_code)
        except BrokenPipeError:
            sys.exit(0)
        except OSError as error:  # e.g. the disk is full or a folder is not writable; the message names it
            _fail(out, MissingError(str(error), expected="a path that can be read and written"))
        else:
            if as_json and not _echoed(json.dumps(result.data, indent=1)):
                out.warn("stdout was closed before the result was printed")
                sys.exit(result.exit_code or MissingError.exit_code)
            if result.next_command:
                out.print(f"\nNext: {result.next_command}")
            sys.exit(result.exit_code)

    return run


def _fail(out: Output, error: PoseEdgeError) -> None:
    """Print an error and exit with its code."""
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


def _echoed(text: str) -> bool:
    """Print on stdout; False if nobody reads that any more."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError:
        discard_descriptor(sys.stdout.fileno())
        return False
    except AttributeError:  # there is no stdout
        return False
    return True


def as_record(error: PoseEdgeError) -> str:
    """The error as a JSON object."""
    record = {"error": type(error).__name__, "what": error.what, "expected": error.expected, "run": error.run}
    return json.dumps(record | {"exit_code": error.exit_code}, indent=1)

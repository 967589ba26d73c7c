"""The posemoe-edge program: a click group that loads the module of a verb when the verb is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from ... import __version__
from ...runtime.bounds import DEFAULT_MB, allow_megabytes
from ...runtime.command_line import PROGRAM
from ...runtime.errors import PoseEdgeError, UsageError
from ...runtime.registry import suggest
from .config import read_config
from .output import INTERRUPTED, as_record

# In the order in which a new user needs them. The verb NAME is ``command`` in the module ``NAME_verb``.
VERBS = {
    "demo": "Export, certify and run the default model, and draw the result.",
    "doctor": "What is installed on this machine, and what is missing.",
    "models": "List the presets with their size, cost and latency.",
    "detectors": "List the detectors of people in pictures, and fetch their networks.",
    "train": "Train a preset on motion capture or recorded sequences.",
    "eval": "Measure the accuracy of an artefact.",
    "import": "Convert official checkpoints, published data sets and BVH files.",
    "export": "Export PyTorch weights to an artefact.",
    "calibrate": "Add INT8 graphs to an artefact.",
    "build": "Build TensorRT plans of an artefact's graphs.",
    "verify": "Measure an artefact's drift in millimetres, and certify it.",
    "sign": "Sign an artefact, so that robots can refuse any other.",
    "triton": "Write a model repository for NVIDIA's Triton.",
    "serve": "Serve an artefact with the Triton of this machine.",
    "run": "Lift people from a camera, a video or a file.",
    "lift": "Lift an archive of recorded clips, on many cores or machines.",
    "replay": "Lift a recorded run again, and compare the poses.",
    "bench": "Measure how long a step takes here, and what limits it.",
    "inspect": "Show what an artefact contains, and check its files.",
}


class Verbs(click.Group):
    """The verbs as a click group. A verb's module is imported when it is called, so that `run` does not import torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f".{cmd_name}_verb", __package__).command
        assert isinstance(command, click.Command)
        command.help = command.help or VERBS[cmd_name]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no verb {args[0]!r}{suggest(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "POSEMOE_EDGE"})
@click.version_option(__version__, prog_name="posemoe-edge")
@click.option(
    "--max-input-mb",
    type=click.IntRange(min=1),
    default=DEFAULT_MB,
    show_default=True,
    help="How much memory the content of an input file may take, in MB.",
)
@click.pass_context
def cli(ctx: click.Context, max_input_mb: int) -> None:
    """Bring 3D human pose models from PyTorch to a robot: export, certify in millimetres, run with a carried state.

    Exit codes: 0 ok, 1 a check failed, 2 usage, 3 something is missing, 4 the artefact is invalid, 130 interrupted;
    a run that SIGTERM ended is ok.
    """
    allow_megabytes(max_input_mb)
    tables = read_config(Path.cwd(), VERBS)
    ctx.default_map = {name: table for name, table in tables.items() if name in VERBS}
    ctx.obj = tables.get("cameras", {})


def main() -> None:
    """Run the program: parse the arguments, call the verb, exit with its code."""
    _occupy_closed_streams()
    try:
        cli(prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:  # raised before a verb runs: an unknown option, a missing argument
        error.show()
        _fail(UsageError(error.format_message(), run="posemoe-edge --help"))
    except PoseEdgeError as error:  # raised outside of verbs: by the configuration file
        click.echo(f"Error: {error}", err=True)
        _fail(error)


def _occupy_closed_streams() -> None:
    """Open the numbers of stdin, stdout and stderr where the caller closed them, else the next file that is opened gets one.

    A library in C that complains on stderr would write into a recording.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _fail(error: PoseEdgeError) -> None:
    """Exit with the error's code; with ``--json`` print the error as a JSON object."""
    if "--json" in sys.argv:
        click.echo(as_record(error))
    sys.exit(error.exit_code)

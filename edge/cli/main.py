"""posemoe-edge: the verbs."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from ... import __version__
from ...runtime.errors import PoseEdgeError, UsageError
from ...runtime.registry import suggest
from .config import read_config
from .output import INTERRUPTED, as_record

# In the order in which people meet them; each in a module of its name with a command of its name.
VERBS = {
    "demo": "Export, certify and run the default model, and draw what it saw.",
    "doctor": "What is installed here, and what is missing.",
    "models": "The presets: size, cost, latency.",
    "train": "Train a preset on motion capture.",
    "eval": "Accuracy of an artefact on motion capture.",
    "import": "Official checkpoints, and data sets and motion of others.",
    "export": "PyTorch weights to an artefact.",
    "calibrate": "INT8 graphs for an artefact, from ranges over time.",
    "build": "Graphs to TensorRT plans.",
    "verify": "Certify an artefact's drift in millimetres.",
    "run": "Lift people from a camera, a video or a file.",
    "inspect": "What an artefact is, and whether it is whole.",
}


class Verbs(click.Group):
    """Loads a verb when it is called, so that `run` never pays for `train`."""

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
@click.pass_context
def cli(ctx: click.Context) -> None:
    """3D human pose models from PyTorch to a robot: exported, certified in millimetres, streamed with state.

    Exit codes: 0 ok, 1 a check failed, 2 usage, 3 something is missing here, 4 the artefact is invalid, 130 interrupted.
    """
    tables = read_config(Path.cwd(), VERBS)
    ctx.default_map = {name: table for name, table in tables.items() if name in VERBS}
    ctx.obj = tables.get("cameras", {})


def main() -> None:
    """The program."""
    try:
        cli(standalone_mode=False)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:  # found before any verb ran: an unknown option, a missing argument
        error.show()
        _fail(UsageError(error.format_message(), run="posemoe-edge --help"))
    except PoseEdgeError as error:  # outside of any verb: the configuration file
        click.echo(f"Error: {error}", err=True)
        _fail(error)


def _fail(error: PoseEdgeError) -> None:
    """Exit, with the error as an object where one was asked for."""
    if "--json" in sys.argv:
        click.echo(as_record(error))
    sys.exit(error.exit_code)

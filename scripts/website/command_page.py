"""The page of the command line: every verb with its arguments and options, from click."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
from posemoe_edge.edge.cli.main import VERBS, cli
from posemoe_edge.runtime.command_line import PROGRAM

PAGE = "reference/commands.md"
_INTRO = f"""# Verbs and options

What `{PROGRAM} VERB --help` prints, for every verb. [The command line](cli.md) explains the same verbs with
examples, and how a [configuration file or the environment](cli.md#configuration) sets the default of an option.
"""


def command_page() -> str:
    """The page's text."""
    return _INTRO + "".join(_section(name, command) for name, command in _verbs())


def _verbs() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli, info_name=PROGRAM)
    yield PROGRAM, cli
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=PROGRAM if command is cli else f"{PROGRAM} {name}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [_row(option, context) for option in command.params if isinstance(option, click.Option) and not option.hidden]
    table = "| option | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)
    return f"\n## {name}\n\n```\n{usage}\n```\n\n{_help(command)}\n\n{table}\n"


def _help(command: click.Command) -> str:
    """The verb's help. Lines after \\b are set as they are, which a Markdown list does."""
    paragraphs = re.split(r"\n\s*\n", _dedented(command.help or ""))
    return "\n\n".join(
        "\n".join(f"- {line.strip()}" for line in paragraph.splitlines()[1:]) if paragraph.startswith("\b") else paragraph
        for paragraph in paragraphs
    )


def _dedented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _row(option: click.Option, context: click.Context) -> str:
    described = option.get_help_extra(context)
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or option.count else f" `{option.make_metavar(context).removesuffix(' RANGE')}`"
    cells = (names + value, described.get("default", ""), option.help or "")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

"""posemoe-edge triton"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.serving import ModelFolder, ServingLimits, write_repository
from .options import FOLDER, PRECISION, Verb, add_options
from .output import Output, Result, verb

_DEFAULTS = ServingLimits()


def limit_options(function: Verb) -> Verb:
    """What a server holds at once, and which graphs it may run."""
    return add_options(
        function,
        click.option(
            "--people",
            type=click.IntRange(min=1),
            default=_DEFAULTS.people,
            show_default=True,
            help="How many people's states are held at once.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            default=_DEFAULTS.batch,
            show_default=True,
            help="Most people in one launch.",
        ),
        click.option(
            "--idle",
            type=click.FloatRange(min=0, min_open=True),
            default=_DEFAULTS.idle_s,
            show_default=True,
            metavar="SECONDS",
            help="How long a person's state is kept without a frame.",
        ),
        click.option(
            "--delay-us",
            type=click.IntRange(min=0),
            default=_DEFAULTS.delay_us,
            show_default=True,
            help="How long a launch waits for further people, in microseconds.",
        ),
        click.option(
            "--instances",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Processes of the model of people.",
        ),
        click.option(
            "--precision",
            type=PRECISION,
            help="The graph that the model of people runs.  [default: the artefact's]",
        ),
        click.option("--allow-failed", is_flag=True, help="Serve graphs whose drift certificate failed, too."),
    )


@click.command("triton")
@click.argument("artefact", required=False)
@click.option("--out", type=FOLDER, required=True, help="The repository: a folder of models.")
@limit_options
@verb
def command(
    output: Output,
    artefact: str | None,
    out: Path,
    people: int,
    batch: int,
    idle: float,
    delay_us: int,
    instances: int,
    precision: Precision | None,
    allow_failed: bool,
) -> Result:
    """Write a model repository for NVIDIA's Triton from ARTEFACT, a folder or a shipped one's name."""
    limits = ServingLimits(people=people, batch=batch, idle_s=idle, delay_us=delay_us)
    models = write_repository(artefact, out, limits=limits, precision=precision, allow_failed=allow_failed, instances=instances)
    print_models(output, out, models)
    return Result(
        {"artefact": artefact or DEFAULT_MODEL, "repository": str(out), "models": models_data(models)},
        next_command=command_line("serve", *([artefact] if artefact else ())),
    )


def print_models(out: Output, repository: Path, models: Sequence[ModelFolder]) -> None:
    """A line for each model of a repository."""
    out.print(f"Wrote {repository}: {len(models)} models")
    width = max(len(model.name) for model in models)
    for model in models:
        out.print(f"  {model.name:<{width}}  {model.backend:<11}  {model.what}")


def models_data(models: Sequence[ModelFolder]) -> list[dict[str, str]]:
    """The models for JSON."""
    return [{"name": model.name, "backend": model.backend, "what": model.what} for model in models]

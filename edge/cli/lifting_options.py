"""The options of the verbs that lift: which model, how each person is lifted, and whom to trust."""

from __future__ import annotations

from typing import get_args

import click

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.pose.joint_memory import HOLD_S
from ...runtime.pose.smoothing import Smooth
from .options import FILE, PRECISION, Verb, add_options


def model_options(function: Verb) -> Verb:
    """Which model is lifted with, and on what."""
    function = click.option("--engine", help="What executes the model.  [default: the fastest that this machine can run]")(
        function
    )
    function = click.option(
        "--precision", type=click.Choice(list(PRECISIONS)), help="Which graph.  [default: what the artefact prefers, else fp32]"
    )(function)
    return click.option("--model", help=f"An artefact's folder, or the name of a shipped one.  [default: {DEFAULT_MODEL}]")(
        function
    )


def person_options(function: Verb) -> Verb:
    """What is done with each person's keypoints and poses."""
    function = click.option("--flip", is_flag=True, help="Lift the mirrored person too, and average both poses.")(function)
    function = click.option(
        "--hold",
        default=HOLD_S,
        show_default=True,
        metavar="SECONDS",
        help="How long a joint that the detector loses stays where it was; 0 turns it off.",
    )(function)
    return click.option(
        "--smooth", type=click.Choice(get_args(Smooth)), default="off", show_default=True, help="Filter keypoints and poses."
    )(function)


def trust_options(function: Verb) -> Verb:
    """Which artefacts are run."""
    function = click.option("--allow-failed", is_flag=True, help="Run an artefact whose drift certificate failed.")(function)
    return click.option(
        "--require-signature",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Run the artefact only if this public key signed it (see the verb sign).",
    )(function)

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
    return add_options(
        function,
        click.option("--model", help=f"An artefact's folder, or a shipped one's name.  [default: {DEFAULT_MODEL}]"),
        click.option("--precision", type=PRECISION, help="The graph to run.  [default: what the artefact prefers, else fp32]"),
        click.option("--engine", help="What runs the graph.  [default: the fastest on this machine]"),
    )


def person_options(function: Verb) -> Verb:
    """What is done with each person's keypoints and poses."""
    return add_options(
        function,
        click.option(
            "--smooth",
            type=click.Choice(get_args(Smooth)),
            default="off",
            show_default=True,
            help="Filter keypoints and poses.",
        ),
        click.option(
            "--hold",
            default=HOLD_S,
            show_default=True,
            metavar="SECONDS",
            help="How long a joint that is not seen any more stays where it was.",
        ),
        click.option("--flip", is_flag=True, help="Lift the mirrored person too, and average."),
    )


def trust_options(function: Verb) -> Verb:
    """Which artefacts are run."""
    return add_options(
        function,
        click.option(
            "--require-signature",
            type=FILE,
            help="Run the artefact only if this public key signed it, see sign.",
        ),
        click.option("--allow-failed", is_flag=True, help="Run an artefact whose drift certificate failed."),
    )

"""Options of click: the types of several verbs' options, and how verbs share groups of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ...runtime.artefact.precision import PRECISIONS

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
PRECISION = click.Choice(list(PRECISIONS))

Verb = TypeVar("Verb", bound=Callable[..., Any])


def add_options(verb: Verb, *options: Callable[[Verb], Verb]) -> Verb:
    """A verb's function with the options of click, which its help shows in this order."""
    for option in reversed(options):  # as decorators, of which the last one is applied first
        verb = option(verb)
    return verb

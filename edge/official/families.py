"""The families of official checkpoints, by the published code that wrote them.

Every name in a checkpoint must be known, and every weight of the network must be in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...runtime.command_line import command_line
from ...runtime.errors import ArtefactError, UsageError
from ...runtime.registry import suggest
from ..models.config import LifterConfig
from .alternating import alternating_weights, mixste_config, poseretnet_config, xpos_scales
from .conversion import ConvertedWeight, Weights
from .motionbert import motionbert_config, motionbert_weights
from .names import FAMILY_MARKS, guess_family
from .options import Options

MOST_NAMES = 5  # in an error message


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one published code are read.

    Args:
        configure: the configuration of the network, from the shapes of the weights and the published options.
        weights: every weight of the network of a configuration.
        constants: official names that hold no weight, but a table that follows from the sizes.
    """

    configure: Callable[[Weights, Options], LifterConfig]
    weights: Callable[[Any], Iterator[ConvertedWeight]]
    constants: Callable[[Any], set[str]] = lambda config: set()


FAMILIES = {
    "poseretnet": Family(poseretnet_config, alternating_weights, xpos_scales),
    "mixste": Family(mixste_config, alternating_weights),
    "motionbert": Family(motionbert_config, motionbert_weights),
}


def match_checkpoint(family: str, weights: Weights, options: Options) -> tuple[LifterConfig, list[ConvertedWeight]]:
    """The configuration of an official state dict's network, and the source of every weight of it.

    Raises:
        UsageError: no such family, or a configuration that contradicts the weights.
        ArtefactError: weights are missing or unknown.
    """
    if family not in FAMILIES:
        raise UsageError(f"there is no family {family!r}{suggest(family, FAMILIES)}", expected=f"one of {', '.join(FAMILIES)}")
    reader = FAMILIES[family]
    guessed = guess_family(weights)
    if guessed not in (None, family):
        raise ArtefactError(
            f"the {len(weights)} weights are those of a {guessed}, not of a {family}",
            expected=f"{guessed} as the family",
            run=command_line("import", guessed, "FILE"),
        )
    if guessed is None and weights:
        raise ArtefactError(
            f"the checkpoint lacks {FAMILY_MARKS[family][0]}, and what marks others; it holds {_listed(sorted(weights))}",
            expected=f"weights of one of {', '.join(FAMILIES)}",
        )
    config = reader.configure(weights, options)
    converted = list(reader.weights(config))
    needed = [name for weight in converted for name in weight.sources]
    missing = [name for name in needed if name not in weights]
    unknown = sorted(set(weights) - set(needed) - reader.constants(config))
    for problem, names in (("lacks", missing), ("has odd keys", unknown)):
        if names:
            raise ArtefactError(
                f"the checkpoint {problem}: {_listed(names)}",
                expected=f"the {len(needed)} weights of a {family}",
            )
    return config, converted


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"

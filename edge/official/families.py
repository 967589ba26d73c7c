"""The families of official checkpoints: the published names of weights, and what they are called here.

Everything in a checkpoint must be known, and everything that is known must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...runtime.errors import ArtefactError, UsageError
from ..models.config import LifterConfig
from .alternating import alternating_renames, mixste, poseretnet, scales
from .motionbert import motionbert, motionbert_renames
from .options import Options
from .rename import Rename, Weights


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one published code are read.

    Args:
        configure: our configuration, from the official one and from the shapes of the weights.
        renames: every weight of the network.
        constants: official names that hold no weight, only what follows from the sizes.
    """

    configure: Callable[[Weights, Options], LifterConfig]
    renames: Callable[[Any], Iterator[Rename]]
    constants: Callable[[Any], set[str]] = lambda config: set()


FAMILIES = {
    "poseretnet": Family(poseretnet, alternating_renames, scales),
    "mixste": Family(mixste, alternating_renames),
    "motionbert": Family(motionbert, motionbert_renames),
}


def recognise(family: str, weights: Weights, options: Options) -> tuple[LifterConfig, list[Rename]]:
    """Our configuration of an official state dict, and what becomes of every weight in it.

    Raises:
        UsageError: no such family, or a configuration that contradicts the weights.
        ArtefactError: weights are missing or odd.
    """
    if family not in FAMILIES:
        raise UsageError(f"there is no family {family!r}", expected=f"one of {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    ours = known.configure(weights, options)
    renames = list(known.renames(ours))
    needed = [name for rename in renames for name in rename.official]
    missing = [name for name in needed if name not in weights]
    odd = sorted(set(weights) - set(needed) - known.constants(ours))
    for what, names in (("lacks", missing), ("has odd keys", odd)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ArtefactError(
                f"the checkpoint {what}: {', '.join(names[:5])}{more}", expected=f"the {len(needed)} weights of a {family}"
            )
    return ours, renames

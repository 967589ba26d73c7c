"""The sizes of a network, read from the shapes of its official weights and checked against the options."""

from __future__ import annotations

from ...runtime.errors import ArtefactError, UsageError
from ..models.pruning import Pruning
from .conversion import Weights
from .options import Options

DATASETS = {"h36m": "h36m17", "mpii3d_univ": "3dhp17"}


def axis_length(weights: Weights, name: str, axis: int) -> int:
    """The length of a weight's axis."""
    if name not in weights:
        raise ArtefactError(f"the checkpoint lacks {name}", expected="a state dict of this family")
    shape = tuple(weights[name].shape)
    if len(shape) <= axis or not all(shape):
        raise ArtefactError(
            f"the checkpoint's {name} has the shape {shape}", expected=f"more than {axis} axes, none of them empty"
        )
    return shape[axis]


def part_count(weights: Weights, prefix: str) -> int:
    """The number of parts whose names are a prefix and a number, as in ``blocks.0``."""
    numbers = {name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)}
    if not numbers:
        raise ArtefactError(f"the checkpoint lacks {prefix}*", expected="a state dict of this family")
    return len(numbers)


def norm_eps(options: Options) -> float:
    """The epsilon of the blocks' layer norms. Every published code fixes those of the head and of retention's group norms."""
    for key in ("head_layernorm_eps", "groupnorm_eps"):
        if options.number(key, 1e-5) != 1e-5:
            raise UsageError(f"the configuration says another {key}", expected="1e-05")
    return options.number("layernorm_eps", 1e-6)


def mlp_ratio(weights: Weights, options: Options, name: str, dim: int) -> int:
    """The width of the feed-forward over C."""
    hidden = axis_length(weights, name, 0)
    if hidden % dim:
        raise ArtefactError(f"{name} makes {hidden} of {dim} channels", expected="a multiple")
    options.require(hidden // dim, "mlp_ratio")
    return hidden // dim


def pruning_from(options: Options) -> Pruning | None:
    """H2OT around a network that was trained without it: the stages before layers b keep r frames."""
    keep, layers = options.whole_numbers("r"), options.whole_numbers("b")
    return Pruning(keep=keep, layers=layers) if keep or layers else None

"""The weights of an official checkpoint: out of its file, and fit to be read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...runtime.errors import ArtefactError

CONTAINERS = ("model_pos", "model", "state_dict")  # where the published codes keep a state dict beside other things
DAMAGED = (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, OSError)


class Ignored:
    """Stands for whatever numpy object lies beside the weights: a random state, a loss. It does nothing and holds nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file: safetensors, or what torch.save wrote. Nothing in the file is executed."""
    path.open("rb").close()  # what cannot be opened says so itself; from here on it is the content
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with _numpy_ignored(path):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:  # torch's own message would have the file trusted
        raise ArtefactError(f"{path} is damaged, or holds code", expected="tensors by name") from error
    for name in CONTAINERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found or not all(isinstance(weight, Tensor) for weight in found.values()):
        raise ArtefactError(f"{path} holds no state dict", expected=f"tensors by name, or one in {', '.join(CONTAINERS)}")
    return found


@contextmanager
def _numpy_ignored(path: Path) -> Iterator[None]:
    """Where the published trainers left numpy's random state beside the weights, an inert object takes its place."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except DAMAGED:  # torch's older format, which tells no names
        names = []
    ours: list[Any] = [(Ignored, name) for name in names if name.startswith("numpy.") or name == "_codecs.encode"]
    with torch.serialization.safe_globals(ours):
        yield


def tidied(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """By names without DataParallel's prefix; real finite numbers alone."""
    weights: dict[str, Tensor] = {}
    for name, weight in state_dict.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise ArtefactError(f"the state dict holds {type(weight).__name__} at {name!r}", expected="tensors by name")
        if weight.is_meta or not weight.is_floating_point() or not bool(torch.isfinite(weight).all()):
            raise ArtefactError(f"the checkpoint's {name} holds {weight.dtype} that is not finite", expected="finite numbers")
        short = name
        while short.startswith("module."):
            short = short.removeprefix("module.")
        if short in weights:
            raise ArtefactError(f"the checkpoint holds {short} twice, under DataParallel's name and without", expected="one")
        weights[short] = weight
    return weights

"""Reads the weights of an official checkpoint from its file, without executing anything in it."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...runtime.bounds import check_archive
from ...runtime.errors import ArtefactError

CONTAINERS = ("model_pos", "model", "state_dict")  # keys under which the published codes store a state dict
DAMAGED = (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, OSError)


class InertObject:
    """Takes the place of a numpy object stored beside the weights, such as a random state or a loss. It holds nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file, written by safetensors or torch.save. Nothing in the file is executed.

    Raises:
        OSError: the file cannot be opened.
        ArtefactError: it is damaged, holds code, or holds no state dict.
    """
    path.open("rb").close()  # a file that cannot be opened raises its own OSError; errors below are about its content
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        with _numpy_ignored(path):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ArtefactError:
        raise
    except Exception as error:  # whatever a broken stream leads to; torch's own message suggests to trust the file
        raise ArtefactError(f"{path} is damaged, or holds code", expected="tensors by name") from error
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content or not all(isinstance(weight, Tensor) for weight in content.values()):
        raise ArtefactError(f"{path} holds no state dict", expected=f"tensors by name, or one in {', '.join(CONTAINERS)}")
    for name, weight in content.items():  # a view of one number may claim to be terabytes
        if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise ArtefactError(f"{name} in {path} claims {weight.numel()} numbers", expected="tensors as large as their data")
    return content


@contextmanager
def _numpy_ignored(path: Path) -> Iterator[None]:
    """Loads the numpy objects that the published trainers stored beside the weights as inert objects."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except DAMAGED:  # torch's older format, which lists no names
        names = []
    inert: list[Any] = [(InertObject, name) for name in names if name.startswith("numpy.") or name == "_codecs.encode"]
    with torch.serialization.safe_globals(inert):
        yield


def clean_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors by names without DataParallel's prefix.

    Raises:
        ArtefactError: an entry that is no tensor of finite real numbers, or a weight that is there twice.
    """
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

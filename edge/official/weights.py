"""Reads the weights of an official checkpoint from its file, without executing anything in it."""

from __future__ import annotations

import pickle
import re
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
from ...runtime.file_kind import check_stand_in

# Keys under which a state dict is stored, the first one first: what the published codes evaluate, then what others write.
CONTAINERS = (
    "model_pos",
    "model",
    "state_dict",
    "model_state_dict",
    "net",
    "network",
    "params",
    "module",
    "generator",
    "weights",
)
DAMAGED = (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, OSError)
_EXPECTED = "a checkpoint of tensors by name, by torch.save or safetensors"
_DEPTH = 4  # of containers in containers
_NO_WEIGHTS = ("optim", "sched", "scaler", "rng", "callback", "hyper")  # in a key: what is below it is no network
_COUNTERS = {"n_averaged", "num_updates", "decay", "initted", "step"}  # what averaging stores beside the weights
_REFUSED = re.compile(r"Unsupported global: GLOBAL (?P<name>[\w.]{1,100})(?=\s)")
_LENGTH_BYTES = 8  # of a safetensors file: the length of the JSON that follows


class InertObject:
    """Takes the place of a numpy object stored beside the weights, such as a random state or a loss. It holds nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file, written by safetensors or torch.save. Nothing in the file is executed.

    The content tells the format, not the suffix. A state dict may lie in containers, one in the other.

    Raises:
        OSError: the file cannot be opened.
        ArtefactError: it is damaged, holds code, holds no state dict, or several of which none is known to be the one.
    """
    path.open("rb").close()  # a file that cannot be opened raises its own OSError; errors below are about its content
    check_stand_in(path, expected=_EXPECTED)
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        if _is_safetensors(path):
            return load_file(path)
        with path.open("rb") as stream, _numpy_ignored(path):  # a stream, since torch judges a path by its suffix
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except ArtefactError:
        raise
    except Exception as error:  # whatever a broken stream leads to; torch's own message suggests to trust the file
        refused = _REFUSED.search(str(error))
        if refused:  # a whole module, or worse
            raise ArtefactError(
                f"{path} holds code: {refused['name']}",
                expected="tensors by name, as torch.save(model.state_dict(), FILE) writes them",
            ) from error
        raise ArtefactError(f"{path} is damaged, or holds code", expected="tensors by name") from error
    found = dict(_state_dicts(content, (), _DEPTH))
    if not found:
        raise ArtefactError(f"{path} holds no state dict, but {_described(content)}", expected=_EXPECTED)
    weights = found[_chosen(path, found)]
    for name, weight in weights.items():  # a view of one number may claim to be terabytes
        if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise ArtefactError(f"{name} in {path} claims {weight.numel()} numbers", expected="tensors as large as their data")
    return weights


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return head[_LENGTH_BYTES:] == b"{" and length + _LENGTH_BYTES <= path.stat().st_size


def _state_dicts(content: Any, keys: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Each state dict in nested dictionaries, by the keys that lead to it."""
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        return
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if any(key not in _COUNTERS and value.is_floating_point() for key, value in tensors.items()):
        others = [key for key, value in content.items() if not isinstance(value, Tensor | Mapping)]
        if len(tensors) > len(others):
            yield keys, tensors
            return
    for key, value in content.items():
        if depth and not any(word in key.lower() for word in _NO_WEIGHTS):
            yield from _state_dicts(value, (*keys, key), depth - 1)


def _chosen(path: Path, found: Mapping[tuple[str, ...], dict[str, Tensor]]) -> tuple[str, ...]:
    """The keys of the only state dict, or of the one that the first of ``CONTAINERS`` leads to."""
    if len(found) == 1:
        return next(iter(found))
    for name in CONTAINERS:
        of_name = [keys for keys in found if name in keys]
        if len(of_name) == 1:
            return of_name[0]
    listed = ", ".join(f"{'.'.join(keys)} ({len(weights)} tensors)" for keys, weights in found.items())
    raise ArtefactError(f"{path} holds {len(found)} state dicts: {listed}", expected=f"one, or one in {', '.join(CONTAINERS)}")


def _described(content: Any) -> str:
    """What a file holds in place of a state dict."""
    if not isinstance(content, Mapping):
        return f"one {type(content).__name__}"
    kinds = [
        f"{key} ({type(value).__name__}{f' of {len(value)}' if hasattr(value, '__len__') else ''})"
        for key, value in content.items()
    ]
    return ", ".join(kinds[:9]) or "nothing"


@contextmanager
def _numpy_ignored(path: Path) -> Iterator[None]:
    """Loads the numpy objects that the published trainers stored beside the weights as inert objects."""
    try:
        with path.open("rb") as stream:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(stream)
    except DAMAGED:  # torch's older format, which lists no names
        names = []
    inert: list[Any] = [(InertObject, name) for name in names if name.startswith("numpy.") or name == "_codecs.encode"]
    with torch.serialization.safe_globals(inert):
        yield

"""Reads the npz files of pickled dictionaries that published data sets consist of, without executing anything in them.

A pickle names functions and the arguments to call them with. Here no name is ever imported: a name becomes a ``_Symbol``, a
call records its arguments in one, and only the symbols that describe numpy arrays and numbers are converted to values.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.bounds import MOST_NODES, check_archive, npz_names
from ...runtime.errors import ArtefactError, MissingError
from ...runtime.file_kind import check_stand_in

_ALLOWED = {
    (module, name)
    for name, modules in {
        "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "ndarray": ("numpy",),
        "dtype": ("numpy",),
        "encode": ("_codecs",),  # bytes, in pickles of protocol 2
    }.items()
    for module in modules
}
_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")
_MOST_STEPS = 10_000_000  # of a stream; Human3.6M's has some thousands
_DEPTH = 10  # most levels of nested dictionaries and lists; the data sets have 4
_EXPECTED = "dictionaries, lists and arrays of numbers, nothing else"


class _Symbol:
    """A name in the pickle, or the recorded call of one: its arguments and its state."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name, self.args, self.state = name, args, None

    def __call__(self, *args: Any) -> _Symbol:
        return _Symbol(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _SymbolUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not data")
        return _Symbol(name)


def read_pickled(path: Path, field: str) -> Any:
    """A field of an npz that holds one pickled object.

    Args:
        path: the npz.
        field: its name in it, e.g. ``positions_3d``.

    Returns:
        Dictionaries, lists, strings, numbers, and arrays of numbers (read only).

    Raises:
        MissingError: there is no such file.
        ArtefactError: it lacks the field, or holds anything else than such data.
    """
    if not path.is_file():
        raise MissingError(f"there is no file {path}", expected=f"an npz with {field}")
    check_stand_in(path, expected=f"an npz with {field}")
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            if f"{field}.npy" not in archive.namelist():
                names = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:9])
                raise _format_error(path, f"lacks {field}", f"an npz with it; this one holds {names or 'nothing'}")
            with archive.open(f"{field}.npy") as file:
                _check_size(file)
            with archive.open(f"{field}.npy") as file:
                content = _unpickle(file)
            return _to_data(content, _DEPTH, _Budget())
    except ArtefactError:
        raise
    except Exception as error:  # a malicious stream may raise any exception
        raise _format_error(path, f"cannot be read: {str(error) or type(error).__name__}", f"{field}: {_EXPECTED}") from error


class _Budget:
    """How many values may yet come: a few lists that hold each other many times would be endless."""

    left = MOST_NODES

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {MOST_NODES} values")


def field_names(path: Path) -> set[str]:
    """The names of an npz's fields; nothing of what cannot be read, of which ``read_pickled`` says why."""
    try:
        return npz_names(path)
    except (OSError, zipfile.BadZipFile):
        return set()


def _unpickle(file: IO[bytes]) -> Any:
    _skip_header(file)
    return _SymbolUnpickler(file, encoding="latin1").load()


def _check_size(file: IO[bytes]) -> None:
    """Refuse a stream whose number of steps, or of places for results, would take memory before there is data in them."""
    _skip_header(file)
    for steps, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if steps > _MOST_STEPS:
            raise ValueError(f"more than {_MOST_STEPS} steps")
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > _MOST_STEPS:
            raise ValueError(f"a place with the number {argument}")


def _skip_header(file: IO[bytes]) -> None:
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"npy of version {version}")
    _, _, dtype = header(file)
    if not dtype.hasobject:
        raise ValueError(f"it is an array of {dtype}, not a pickled object")


def _to_data(node: Any, depth: int, budget: _Budget) -> Any:
    budget.spend()
    if depth < 0:
        raise ValueError(f"more than {_DEPTH} levels")
    if isinstance(node, dict):
        if invalid := [key for key in node if not isinstance(key, str | int)]:
            raise ValueError(f"a key of type {type(invalid[0]).__name__}")
        return {str(key): _to_data(value, depth - 1, budget) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_to_data(value, depth - 1, budget) for value in node]
    if node is None or isinstance(node, str | int | float):
        return node
    if isinstance(node, _Symbol) and node.name == "_reconstruct":
        _, shape, dtype, fortran, content = _state(node, 5)
        if dtype.args[0].startswith("O"):
            items = [_to_data(value, depth - 1, budget) for value in content]
            return items[0] if shape == () else items
        return _to_array(content, dtype).reshape(shape, order="F" if fortran else "C")
    if isinstance(node, _Symbol) and node.name == "scalar":
        dtype, content = node.args
        return _to_array(content, dtype)[0].item()
    raise ValueError(f"a {node.name if isinstance(node, _Symbol) else type(node).__name__} in place of data")


def _to_array(content: Any, dtype: _Symbol) -> NDArray[Any]:
    kind, order = dtype.args[0], _state(dtype, 2)[1]
    if not _NUMBER.fullmatch(kind) or order not in ("<", ">", "|", "="):
        raise ValueError(f"an array of type {kind}")
    if isinstance(content, _Symbol) and content.name == "encode":
        content = content.args[0]
    data = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(data, np.dtype(kind).newbyteorder(order))


def _state(symbol: Any, least: int) -> tuple[Any, ...]:
    if not (isinstance(symbol, _Symbol) and isinstance(symbol.state, tuple) and len(symbol.state) >= least):
        raise ValueError("an array without its description")
    return symbol.state if symbol.name == "dtype" else symbol.state[:least]


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"data set {path} {what}", expected=expected)

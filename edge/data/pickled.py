"""Published data sets are npz files of pickled dictionaries: their numbers, without running anything that is in them.

A pickle names functions and says what to call them with. Here no name is ever looked up: each is a mere word, a call of it
is a note of the arguments, and only the notes that describe numpy arrays and numbers are read.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ArtefactError, MissingError

_WORDS = {
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
_DEPTH = 10  # of dictionaries and lists in each other; the data sets have 4
_EXPECTED = "dictionaries, lists and arrays of numbers, nothing else"


class _Note:
    """A name of the pickle, or what calling it would have made: the arguments and the state, as they were given."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name, self.args, self.state = name, args, None

    def __call__(self, *args: Any) -> _Note:
        return _Note(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _WORDS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Note(name)


def read_pickled(path: Path, field: str) -> Any:
    """A field of an npz that holds one pickled object.

    Args:
        path: the npz.
        field: its name in it, e.g. ``positions_3d``.

    Returns:
        Dictionaries, lists, strings, numbers, and arrays of numbers (read only).
    """
    if not path.is_file():
        raise MissingError(f"there is no file {path}", expected=f"an npz with {field}")
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{field}.npy" not in archive.namelist():
                found = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:9])
                raise _odd(path, f"lacks {field}", f"an npz with it; this one holds {found or 'nothing'}")
            with archive.open(f"{field}.npy") as file:
                return _plain(_notes(file), _DEPTH)
    except ArtefactError:
        raise
    except Exception as error:  # a stream made to harm may raise anything
        raise _odd(path, f"cannot be read: {str(error) or type(error).__name__}", f"{field}: {_EXPECTED}") from error


def _notes(file: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"npy of version {version}")
    _, _, dtype = header(file)
    if not dtype.hasobject:
        raise ValueError(f"it is an array of {dtype}, not a pickled object")
    return _Reader(file, encoding="latin1").load()


def _plain(node: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"more than {_DEPTH} levels")
    if isinstance(node, dict):
        if odd := [key for key in node if not isinstance(key, str | int)]:
            raise ValueError(f"a key of type {type(odd[0]).__name__}")
        return {str(key): _plain(value, depth - 1) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value, depth - 1) for value in node]
    if node is None or isinstance(node, str | int | float):
        return node
    if isinstance(node, _Note) and node.name == "_reconstruct":
        _, shape, dtype, fortran, content = _state(node, 5)
        if dtype.args[0].startswith("O"):
            items = [_plain(value, depth - 1) for value in content]
            return items[0] if shape == () else items
        return _numbers(content, dtype).reshape(shape, order="F" if fortran else "C")
    if isinstance(node, _Note) and node.name == "scalar":
        dtype, content = node.args
        return _numbers(content, dtype)[0].item()
    raise ValueError(f"a {node.name if isinstance(node, _Note) else type(node).__name__} where data should be")


def _numbers(content: Any, dtype: _Note) -> NDArray[Any]:
    kind, order = dtype.args[0], _state(dtype, 2)[1]
    if not _NUMBER.fullmatch(kind) or order not in ("<", ">", "|", "="):
        raise ValueError(f"an array of type {kind}")
    if isinstance(content, _Note) and content.name == "encode":
        content = content.args[0]
    data = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(data, np.dtype(kind).newbyteorder(order))


def _state(note: Any, least: int) -> tuple[Any, ...]:
    if not (isinstance(note, _Note) and isinstance(note.state, tuple) and len(note.state) >= least):
        raise ValueError("an array without its description")
    return note.state if note.name == "dtype" else note.state[:least]


def _odd(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"data set {path} {what}", expected=expected)

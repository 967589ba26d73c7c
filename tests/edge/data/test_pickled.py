from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.pickled import read_pickled
from posemoe_edge.runtime.errors import ArtefactError, MissingError

EXPECTED = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class Evil:
    """Pickles to a call that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Patch:
    """Pickles to a state that would modify numpy's own dtype."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, ("f4", False, False), (3, ">", None, None, None, -1, -1, 0)


def write(path: Path, value: Any, *, protocol: int = 4) -> Path:
    """An npz with the field ``data`` as numpy writes one, by any protocol of pickle."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    pickle.dump(np.array(value, dtype=object), file, protocol=protocol)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", file.getvalue())
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_dictionaries_of_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "S1": {"walk": EXPECTED, "fortran": np.asfortranarray(EXPECTED), "big": EXPECTED.astype(">f8"), "one": np.float64(2.5)},
        "views": [EXPECTED[0], EXPECTED[1]],
        "mixed": np.array([{"0": EXPECTED}, 25], dtype=object),
        "flags": np.array([True, False]),
        "plain": (1, 2.0, "three", None),
    }
    tree = read_pickled(write(tmp_path / "a.npz", value, protocol=protocol), "data")
    for name in ("walk", "fortran", "big"):
        np.testing.assert_array_equal(tree["S1"][name], EXPECTED)
    assert tree["S1"]["one"] == 2.5 and tree["plain"] == [1, 2.0, "three", None]
    np.testing.assert_array_equal(tree["views"][1], EXPECTED[1])
    np.testing.assert_array_equal(tree["mixed"][0]["0"], EXPECTED)
    assert tree["mixed"][1] == 25 and tree["flags"].tolist() == [True, False]


def test_files_of_numpys_own_writer_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=np.array({"S1": {"walk": EXPECTED}}, dtype=object))
    np.testing.assert_array_equal(read_pickled(tmp_path / "a.npz", "data")["S1"]["walk"], EXPECTED)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_file_executes_nothing(tmp_path: Path, protocol: int) -> None:
    touched = tmp_path / "touched"
    path = write(tmp_path / "evil.npz", {"S1": Evil(touched)}, protocol=protocol)
    with pytest.raises(ArtefactError, match=r"evil\.npz cannot be read: it refers to (posix|nt)\.system"):
        read_pickled(path, "data")
    assert not touched.exists()
    np.load(path, allow_pickle=True)["data"]  # numpy itself would have executed it
    assert touched.exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.",
        b"(S'1'\nibuiltins\neval\n.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02cnumpy\nndarray\n}b.",  # BUILD on a name
        b"cnumpy\ndtype\n(S'f4'\ntR.",  # a type in place of data
        b"\x80\x04\x82\x01.",  # an extension
        b"Pname\n.",  # a persistent id
        b"",
        b"]" * 50 + b"a" * 49 + b".",  # lists in lists
        b"\x80\x04]\x94h\x00a.",  # a list in itself
    ],
)
def test_other_names_and_opcodes_are_refused(tmp_path: Path, stream: bytes) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("data.npy", file.getvalue() + stream)
    with pytest.raises(ArtefactError, match=r"odd\.npz cannot be read"):
        read_pickled(tmp_path / "odd.npz", "data")


def test_numpys_own_types_are_not_modified(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_pickled(write(tmp_path / "patch.npz", {"a": Patch()}), "data")
    assert np.dtype("f4").isnative


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.npz"):
        read_pickled(tmp_path / "nowhere.npz", "data")
    np.savez(tmp_path / "plain.npz", data=EXPECTED, more=EXPECTED)
    with pytest.raises(ArtefactError, match="array of float32"):
        read_pickled(tmp_path / "plain.npz", "data")
    with pytest.raises(ArtefactError, match="lacks positions; expected an npz with it; this one holds data, more"):
        read_pickled(tmp_path / "plain.npz", "positions")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_pickled(tmp_path / "broken.npz", "data")
    with pytest.raises(ArtefactError, match="an array of type c16"):
        read_pickled(write(tmp_path / "complex.npz", {"a": np.zeros(3, complex)}), "data")

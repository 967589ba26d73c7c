"""The files of a release, made as ``python -m build`` makes them, from a copy of the repository without what git ignores."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_SOURCE = (".*", "__pycache__")
BESIDE_SOURCE = ("*.egg-info", "build", "dist", "demo", "local", "posemoe-*")
"""What lies at the root of a working copy and no build needs."""


def copy_source(folder: Path) -> Path:
    """The repository's own files, in ``folder``."""

    def ignored(parent: str, names: list[str]) -> set[str]:
        patterns = NOT_SOURCE + (BESIDE_SOURCE if Path(parent) == ROOT else ())
        return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}

    return Path(shutil.copytree(ROOT, folder, ignore=ignored))


def build(source: Path, folder: Path, *only: str) -> None:
    """Write the sdist of ``source`` into ``folder``, and the wheel that is built from it.

    Args:
        source: the repository.
        folder: for the files.
        only: ``--wheel`` for a wheel that is built from ``source`` itself, and no sdist.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", *only, "--outdir", str(folder), str(source)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    shutil.rmtree(source / "build", ignore_errors=True)


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def sdist_in(folder: Path) -> Path:
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def contents_of_wheel(wheel: Path) -> dict[str, bytes]:
    """Name -> content of each file."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def compressed_sizes(wheel: Path) -> dict[str, int]:
    """Name -> what each file takes in the wheel, in bytes."""
    with zipfile.ZipFile(wheel) as archive:
        return {member.filename: member.compress_size for member in archive.infolist()}


def names_in_sdist(sdist: Path) -> set[str]:
    """Its files, as paths in the repository."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}

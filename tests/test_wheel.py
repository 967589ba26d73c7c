"""What is installed: the package's modules and data, and no other file of the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")

ROOT = Path(__file__).parents[1]
LAYERS = ("edge", "export", "calib", "runtime")
NOT_SOURCE = (".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "local")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it, and in ``direct/`` the wheel built from the repository."""
    folder = tmp_path_factory.mktemp("built")
    source = shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build = [sys.executable, "-m", "build", "--no-isolation", str(source)]
    for arguments in (["--wheel", "--outdir", str(folder / "direct")], ["--outdir", str(folder)]):
        process = subprocess.run([*build, *arguments], capture_output=True, text=True, timeout=300, check=False)
        assert process.returncode == 0, process.stdout + process.stderr
        shutil.rmtree(source / "build", ignore_errors=True)
    return folder


def names_in(folder: Path) -> set[str]:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("folder", ["direct", "."], ids=["from the repository", "from the sdist"])
def test_the_wheel_holds_the_package_and_nothing_else(built: Path, folder: str) -> None:
    names = names_in(built / folder)
    modules = {path.relative_to(ROOT).as_posix() for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runtime" / "zoo").rglob("*") if path.is_file()}
    data.add("edge/presets.json")
    expected = {f"posemoe_edge/{name}" for name in (modules | data | {"__init__.py", "__main__.py", "py.typed"})}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_sdist_holds_what_builds_the_wheel(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "scripts/build_py.py"} <= names

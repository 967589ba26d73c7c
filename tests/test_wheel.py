"""What is installed: the package's modules and data, and no other file of the repository; and the sdist that makes it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("build")

from distribution import ROOT, build, compressed_sizes, contents_of_wheel, copy_source, names_in_sdist, sdist_in, wheel_in

LAYERS = ("edge", "export", "calib", "runtime")

# The wheel has 38 MB, of which 37 are the shipped weights. It goes to robots, over whatever link they have: a bound just above
# makes it a decision, and not an accident, that it grows. PyPI takes files of up to 100 MB.
MOST_WHEEL_MB = 40.0
MOST_CODE_MB = 1.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it; in ``direct/`` the wheel built from the repository, and in
    ``image/`` the one that is built from what docker copies into an image."""
    folder = tmp_path_factory.mktemp("built")
    source = copy_source(folder / "source")
    build(source, folder / "direct", "--wheel")
    build(source, folder)
    build(copy_image_context(source, folder / "context"), folder / "image", "--wheel")
    return folder


def copy_image_context(source: Path, folder: Path) -> Path:
    """What `.dockerignore`, a list of exceptions from "nothing", leaves for ``COPY . /src``."""
    everything, *lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert everything == "*"
    for line in lines:
        if line.startswith("!"):
            path, target = source / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    return folder


@pytest.fixture(scope="module")
def contents(built: Path) -> dict[str, bytes]:
    """Of the wheel that is built from the repository: name -> content."""
    named: dict[str, bytes] = contents_of_wheel(wheel_in(built / "direct"))
    return named


def test_the_wheel_holds_the_package_and_nothing_else(contents: dict[str, bytes]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runtime" / "zoo").rglob("*") if path.is_file()}
    data.add("edge/presets.json")
    expected = {f"posemoe_edge/{name}" for name in (modules | data | {"__init__.py", "__main__.py", "plotting.py", "py.typed"})}
    assert {name for name in contents if ".dist-info/" not in name} == expected


def test_the_wheel_comes_with_its_licence_and_the_notice_for_its_weights(contents: dict[str, bytes]) -> None:
    (folder,) = {name.partition("/")[0] for name in contents if ".dist-info/" in name}
    for name in ("LICENSE", "NOTICE"):
        assert contents[f"{folder}/licenses/{name}"] == (ROOT / name).read_bytes()


@pytest.mark.parametrize("folder", [".", "image"], ids=["the sdist", "what docker copies into an image"])
def test_the_same_wheel_is_built_from(folder: str, built: Path, contents: dict[str, bytes]) -> None:
    other = contents_of_wheel(wheel_in(built / folder))
    assert set(other) == set(contents)
    assert [name for name in contents if contents[name] != other[name]] == []


def test_the_wheel_is_of_the_size_that_its_weights_need(built: Path) -> None:
    wheel = wheel_in(built / "direct")
    sizes = compressed_sizes(wheel)
    weights = sum(size for name, size in sizes.items() if name.startswith("posemoe_edge/runtime/zoo/"))
    total = wheel.stat().st_size
    print(f"{wheel.name}: {total / 1e6:.1f} MB, of which weights, graphs and certificates {weights / 1e6:.1f} MB")
    assert total < MOST_WHEEL_MB * 1e6
    assert sum(sizes.values()) - weights < MOST_CODE_MB * 1e6


def test_the_sdist_holds_every_file_of_the_repository_but_hidden_ones(built: Path) -> None:
    """Tests, pages and benchmarks too, since tests read them; and nothing that git ignores, such as recorded data."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the repository is not under git here")
    own = {name for name in listed.stdout.split("\0") if name and not name.startswith(".") and (ROOT / name).is_file()}
    generated = {name for name in names_in_sdist(sdist_in(built)) if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert names_in_sdist(sdist_in(built)) - generated == own

"""The files of a release, and clean environments with the wheel. ``make test-release`` says where the environments lie."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from distribution import build, copy_source, wheel_in
from environment import Environment, install_wheel
from posemoe_edge.runtime.detectors.models import FOLDER

Install = Callable[..., Environment]


@pytest.fixture(scope="session")
def environments() -> Path:
    """The folder of the environments."""
    folder = os.environ.get("POSEMOE_EDGE_RELEASE")
    if not folder:
        pytest.skip("make test-release runs it")
    return Path(folder)


@pytest.fixture(scope="session")
def dist(build_once: Callable[..., Path]) -> Path:
    """A folder with the sdist and the wheel that was built from it, the same for all workers."""
    return build_once("dist", lambda folder: build(copy_source(folder.with_name("source")), folder))


@pytest.fixture(scope="session")
def install(environments: Path, dist: Path) -> Install:
    """install("cpu", "camera"): the environment with the wheel and these extras."""

    @functools.cache
    def installed(extras: frozenset[str]) -> Environment:
        return install_wheel(wheel_in(dist), extras, environments)

    return lambda *extras: installed(frozenset(extras))


@pytest.fixture
def detector_cache(tmp_path: Path, fetched_networks: Path) -> Path:
    """A cache with BlazePose's networks; the test is skipped where they are absent."""
    if not fetched_networks.is_dir():
        pytest.skip("no networks of BlazePose: `make test` fetches them")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FOLDER).symlink_to(fetched_networks)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def base(install: Install) -> Environment:
    """The wheel without extras."""
    return install()


@pytest.fixture(scope="session")
def cpu(install: Install) -> Environment:
    return install("cpu")


@pytest.fixture(scope="session")
def camera(install: Install) -> Environment:
    return install("cpu", "camera")


@pytest.fixture(scope="session")
def export(install: Install) -> Environment:
    return install("export")

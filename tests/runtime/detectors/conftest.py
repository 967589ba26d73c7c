"""BlazePose's networks, which are in public packages: `make test` fetches them, and a user may have them in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime.cache import VARIABLE
from posemoe_edge.runtime.detectors.blazepose import BlazePose
from posemoe_edge.runtime.detectors.models import FOLDER, MODELS

FETCHED = Path(__file__).parents[3] / ".venv" / ".cache"
"""The cache of the tests: the Makefile's set-up fills it."""


@pytest.fixture(scope="session")
def open_blazepose() -> Callable[..., BlazePose]:
    """open_blazepose("heavy"): the detector with that landmark network; the test is skipped where it is absent."""

    def opened(variant: str = "full") -> BlazePose:
        pytest.importorskip("cv2")
        pytest.importorskip("ai_edge_litert")
        with pytest.MonkeyPatch.context() as patch:
            if FETCHED.is_dir():
                patch.setenv(VARIABLE, str(FETCHED))
            absent = [file.name for file in MODELS[f"blazepose:{variant}"] if not file.path.is_file()]
            if absent:
                pytest.skip(f"no {' and no '.join(absent)}: `make test` fetches what it can")
            return BlazePose(variant)

    return opened


@pytest.fixture(scope="session")
def blazepose_networks() -> Path:
    """The folder with the networks of BlazePose full; the test is skipped where they are absent."""
    folder = FETCHED / FOLDER
    if not all((folder / file.name).is_file() for file in MODELS["blazepose:full"]):
        pytest.skip("no networks of BlazePose: `make test` fetches them")
    return folder


@pytest.fixture(scope="session")
def blazepose(open_blazepose: Callable[..., BlazePose]) -> BlazePose:
    """BlazePose full."""
    return open_blazepose()

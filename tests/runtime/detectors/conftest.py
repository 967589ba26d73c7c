"""BlazePose, opened once for all tests of detectors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from posemoe_edge.runtime.detectors.blazepose import BlazePose


@pytest.fixture(scope="session")
def blazepose(open_blazepose: Callable[..., BlazePose]) -> BlazePose:
    """BlazePose full."""
    return open_blazepose()

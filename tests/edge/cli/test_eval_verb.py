"""eval: two artefacts on the same frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
ROUNDED = 0.02  # errors by clip are rounded to 0.01 mm


def test_another_artefact_is_measured_on_the_same_frames(
    run_cli: Call,
    artefact_of: Callable[[str], Path],
    write_motion_file: Callable[..., Path],
    make_walker_clip: Callable[..., Any],
) -> None:
    motion = write_motion_file([make_walker_clip(f"clip{i}", 30 + 10 * i, seed=i, split="test") for i in range(3)])
    ours, theirs = artefact_of("retention"), artefact_of("dssm")
    result = run_cli("eval", ours, "--data", motion, "--against", theirs, "--json")
    assert result.code == 0
    alone = run_cli("eval", theirs, "--data", motion, "--json").json
    for name in ("clean", "noisy"):
        compared, lead = result.json[name]["against"], result.json[name]["against"]["lead_mm"]
        assert compared["mpjpe_mm"] == alone[name]["mpjpe_mm"]
        assert lead["mean"] == pytest.approx(compared["mpjpe_mm"] - result.json[name]["mpjpe_mm"], abs=ROUNDED)
        assert lead["low"] <= lead["mean"] <= lead["high"]
        shown = f"{compared['mpjpe_mm']:.1f} mm, which is {lead['mean']:+.1f} mm against tiny-retention"
        assert shown in result.err

"""Where a verb's motion comes from: motion capture if it is there, else the procedural walker, and said so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from .output import Output

if TYPE_CHECKING:
    from ...calib.measure.rollout import Recording
    from ...runtime.artefact.certificate import MotionSource


def choose_motion(
    out: Output, data: Path | None, *, frames: int, streams: int, seed: int, split: str = "test", in_use: bool = False
) -> tuple[list[Recording], MotionSource]:
    """The streams to lift. A file that a user named must be there; one that only a configuration names may be absent."""
    from ..data.motion import real_motion, walker_motion

    if data is not None and not data.is_file() and _only_configured():
        out.warn(f"{data}, named by the configuration, is not there: procedural walkers instead of real motion")
        data = None
    elif data is None:
        out.warn("no --data: procedural walkers instead of real motion")
    if data is None:
        return walker_motion(frames=frames, streams=streams, seed=seed)
    return real_motion(data, frames=frames, streams=streams, seed=seed, split=split, in_use=in_use)


def _only_configured() -> bool:
    return click.get_current_context().get_parameter_source("data") == ParameterSource.DEFAULT_MAP

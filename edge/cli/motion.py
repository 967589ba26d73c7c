"""The motion that a verb lifts: motion capture if there is a file, else procedural walkers, with a warning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from .config import CONFIG
from .output import Output

if TYPE_CHECKING:
    from ...calib.measure.recording import Recording
    from ...runtime.artefact.certificate import MotionSource


def choose_motion(
    out: Output, data: Path | None, *, frames: int, streams: int, seed: int, split: str = "test", in_use: bool = False
) -> tuple[list[Recording], MotionSource]:
    """The streams to lift, and their source.

    A file that a flag or the environment names must exist; one that only the configuration file names may be absent.

    Args:
        data: the motion-capture file, None for procedural walkers.
        frames, streams, seed, split, in_use: see ``real_motion``.
    """
    from ..data.motion import real_motion, walker_motion

    from_config = click.get_current_context().get_parameter_source("data") == ParameterSource.DEFAULT_MAP
    if data is not None and not data.is_file() and from_config:
        out.warn(f"{data} of {CONFIG} does not exist: procedural walkers instead of real motion")
        data = None
    elif data is None:
        out.warn("no --data: procedural walkers instead of real motion")
    if data is None:
        return walker_motion(frames=frames, streams=streams, seed=seed)
    return real_motion(data, frames=frames, streams=streams, seed=seed, split=split, in_use=in_use)

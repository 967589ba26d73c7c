"""The poses of a clip as columns: one row for each pose of a person in a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..events import PoseFrame
from ..pose.skeleton import H36M17
from ..pose.types import Doubt, Pose

JOINTS = len(H36M17)
DOUBTS: tuple[Doubt, ...] = get_args(Doubt)


@dataclass(frozen=True)
class Column:
    """One quantity of all poses.

    Args:
        name: as in the file.
        dtype: numpy's.
        shape: of one pose's value.
        unknown: what stands where a pose has none; None if every pose has one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    unknown: float | str | None = None


COLUMNS = (
    Column("person", "int64"),
    Column("frame", "int64"),
    Column("t_s", "float64"),
    Column("dt_s", "float64"),
    Column("gap", "U5"),
    Column("xyz_m", "float32", (JOINTS, 3)),
    Column("score", "float32", (JOINTS,)),
    Column("sigma_m", "float32", (JOINTS,), unknown=np.nan),
    Column("root_m", "float32", (3,), unknown=np.nan),
    Column("root_sigma_m", "float32", (3,), unknown=np.nan),
    Column("root_residual_px", "float64", unknown=np.nan),
    Column("root_scale", "float64", unknown=np.nan),
    Column("root_scale_from", "U13", unknown=""),
    Column("root_held_s", "float64", unknown=np.nan),
    *(Column(f"doubt_{doubt}", "bool") for doubt in DOUBTS),
)
"""docs/how-to/scale.md says what each one means."""


class PoseTable:
    """Gathers the poses of a clip, frame by frame."""

    def __init__(self) -> None:
        self._room = 64
        self._arrays: dict[str, NDArray[Any]] = {column.name: self._empty(column) for column in COLUMNS}
        self._frame_times_s: list[float] = []
        self._frame_at: dict[float, int] = {}  # time -> index of the newest frame of it, for poses with a latency
        self.poses = 0

    def add(self, frame: PoseFrame) -> None:
        """The poses of the next frame of the clip, in the order of the people's ids."""
        self._frame_at[frame.t_s] = len(self._frame_times_s)
        self._frame_times_s.append(frame.t_s)
        for person in sorted(frame.poses):
            self._append(frame.poses[person])

    @property
    def frames(self) -> int:
        return len(self._frame_times_s)

    @property
    def people(self) -> int:
        """How many different ids have poses."""
        return len(np.unique(self.columns()["person"]))

    @property
    def located(self) -> int:
        """Poses with a position."""
        return int(np.isfinite(self.columns()["root_m"]).all(axis=1).sum())

    @property
    def frame_t_s(self) -> NDArray[np.float64]:
        """(frames,) capture times in seconds of all frames, also of those without a pose."""
        return np.array(self._frame_times_s, np.float64)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Name -> (poses, ...) of every column."""
        return {name: array[: self.poses] for name, array in self._arrays.items()}

    def _append(self, pose: Pose) -> None:
        if self.poses == self._room:
            self._arrays = {column.name: np.concatenate([self._arrays[column.name], self._empty(column)]) for column in COLUMNS}
            self._room *= 2
        values: dict[str, Any] = {
            "person": pose.person,
            "frame": self._frame_at.get(pose.t_s, len(self._frame_times_s) - 1),
            "t_s": pose.t_s,
            "dt_s": pose.dt_s,
            "gap": pose.gap,
            "xyz_m": pose.xyz_m,
            "score": pose.score,
            **{f"doubt_{doubt}": doubt in pose.doubts for doubt in DOUBTS},
        }
        if pose.sigma_m is not None:
            values["sigma_m"] = pose.sigma_m
        if (root := pose.root) is not None:
            values |= {
                "root_m": root.xyz_m,
                "root_sigma_m": root.sigma_m,
                "root_residual_px": root.residual_px,
                "root_scale": root.scale,
                "root_scale_from": root.scale_from,
                "root_held_s": root.held_s,
            }
        for name, value in values.items():
            self._arrays[name][self.poses] = value
        self.poses += 1

    def _empty(self, column: Column) -> NDArray[Any]:
        shape = (self._room, *column.shape)
        return np.zeros(shape, column.dtype) if column.unknown is None else np.full(shape, column.unknown, column.dtype)

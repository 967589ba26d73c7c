"""What a stream remembers, and a copy of it that can be kept, sent and restored."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .arrays import F32
from .bounds import npz, parsing
from .errors import ArtefactError
from .pose.types import GapAction
from .state import StreamState

SNAPSHOT_VERSION = 1
"""Of the bytes: it grows when an entry is renamed or removed."""


@dataclass(frozen=True, eq=False)
class AcceptedFrame:
    """A frame that passed its checks, with the action for the time since the frame before."""

    keypoints: F32  # (J, 3) normalised x, y, score, in Human3.6M order
    t_s: float
    dt_s: float
    gap: GapAction

    @property
    def score(self) -> F32:
        """(J,)"""
        return self.keypoints[:, 2]

    @property
    def fed(self) -> bool:
        """Whether the frame goes into the model; a frame in which nobody is seen does not."""
        return self.gap != "hold"


@dataclass(frozen=True, eq=False)
class History:
    """When a stream was last fed, and its last pose."""

    last_s: float | None = None  # capture time of the last frame, fed or not
    fed_s: float | None = None  # capture time of the last frame that was fed
    lifted: F32 | None = None  # (J, 3 or 4) of the last frame that was fed, in Human3.6M order
    fed: tuple[AcceptedFrame, ...] = ()  # from the frame that the last pose belongs to, up to the last frame that was fed


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a stream remembers; ``Stream.restore`` goes back to it."""

    graph: str  # identifies the graph: its sha256, or the path of a standalone ONNX file
    state: StreamState
    history: History

    def to_bytes(self) -> bytes:
        """The snapshot as a file's content: numpy's npz, without pickled objects. Every bit is kept."""
        history = self.history
        entries: dict[str, NDArray[Any]] = {f"state_{i}": array for i, array in enumerate(self.state)}
        entries |= {
            "version": np.array(SNAPSHOT_VERSION),
            "graph": np.array(self.graph),
            "times_s": np.array([np.nan if t_s is None else t_s for t_s in (history.last_s, history.fed_s)]),  # (2,)
            "fed_keypoints": np.array([frame.keypoints for frame in history.fed], np.float32),  # (frames, J, 3)
            "fed_times_s": np.array([[frame.t_s, frame.dt_s] for frame in history.fed]),  # (frames, 2)
            "fed_gaps": np.array([frame.gap for frame in history.fed], "U8"),  # (frames,)
        }
        if history.lifted is not None:
            entries["lifted"] = history.lifted
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **entries)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """The snapshot of ``to_bytes``, here or in another process.

        Raises:
            ArtefactError: other bytes, or those of a later version.
        """
        with parsing("no snapshot: it", expected="bytes of Snapshot.to_bytes"), npz(io.BytesIO(data)) as entries:
            return _read(entries)


def _read(entries: Any) -> Snapshot:
    version = int(entries["version"])
    if version != SNAPSHOT_VERSION:
        raise ArtefactError(f"a snapshot of version {version}", expected=f"version {SNAPSHOT_VERSION}")
    states = sum(name.startswith("state_") for name in entries.files)
    last_s, fed_s = (None if np.isnan(t_s) else float(t_s) for t_s in entries["times_s"])
    rows = zip(entries["fed_keypoints"], entries["fed_times_s"], entries["fed_gaps"], strict=True)
    history = History(
        last_s,
        fed_s,
        lifted=entries["lifted"] if "lifted" in entries.files else None,
        fed=tuple(
            AcceptedFrame(keypoints, float(t_s), float(dt_s), cast("GapAction", str(gap)))
            for keypoints, (t_s, dt_s), gap in rows
        ),
    )
    return Snapshot(str(entries["graph"]), tuple(entries[f"state_{i}"] for i in range(states)), history)

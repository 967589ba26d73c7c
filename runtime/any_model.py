"""What a pipeline needs of a model, whether it runs in this process (``Model``) or on a server (``RemoteModel``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import ArrayLike

from .artefact.manifest import Graph, Manifest
from .errors import FrameError
from .gaps import GapPolicy
from .pose.types import Pose


class AnyStream(Protocol):
    """One person in one camera."""

    def step(self, keypoints: ArrayLike, *, t: float | None = None) -> Pose:
        """Lift one frame: see ``Stream.step``."""
        ...

    def reset(self) -> None:
        """Clear the state: the next frame is treated as the first one."""
        ...

    def close(self) -> None:
        """Release the state; a second call does nothing."""
        ...


class AnyModel(Protocol):
    """Lifts people, each in a stream of its own."""

    manifest: Manifest
    graph: Graph
    gaps: GapPolicy
    engine: str
    identity: str
    latency_frames: int

    @property
    def state_bytes(self) -> int:
        """The state that one stream carries from frame to frame, in bytes."""
        ...

    def stream(self, *, person: int = 0) -> AnyStream:
        """A new stream with an initial state, whose poses have that person's id."""
        ...

    def step_each(self, frames: Mapping[Any, Any], *, t: float | None = None) -> Mapping[Any, Pose | FrameError]:
        """One frame for each of these streams of this model: the pose, or why the frame was refused."""
        ...

    def shares_states_with(self, other: Any) -> bool:
        """Whether a stream's state means the same in both."""
        ...

    def close(self) -> None:
        """Release what the model holds."""
        ...

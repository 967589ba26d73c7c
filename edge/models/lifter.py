"""A lifter: a network from 2D keypoints to 3D poses, with the three forms of its mixers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .config import LifterConfig
from .layers import EndpointLinear
from .mixer import Mixer
from .modes import ChunkMode, ExecutionMode, ForwardMode, StepMode
from .precision import at_least_fp32
from .pruning import PrunedMode, Pruner
from .timing import Timing
from .view import look_at


class Lifter(nn.Module, ABC):
    """Lifts 2D keypoints to a 3D pose. A topology is a subclass, written once as ``lift(x, mode)``.

    Input (B, T, J, channels), normalised per frame: by the picture's size, as x / w * 2 - 1, y / w * 2 - h / w, or, where the
    view is of the person, by the camera (``runtime.pose.camera``); confidence in [0, 1]. Output (B, T, J, 3): metres in
    camera axes (x right, y down, z forward), relative to the root. With ``config.sigma`` a fourth number follows, each
    joint's standard deviation in metres: see ``losses.sigma_loss`` for its meaning. ``dt`` is seconds since the frame before
    (None: 1 / fps), ``reset`` true where the state is cleared before the frame.
    """

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = EndpointLinear(config.input_channels, config.dim)
        self.pruner = None
        if config.pruning is not None and config.window is not None:
            self.pruner = Pruner(config.pruning, config.dim, config.heads, config.window)
        self._mixers_in_order: list[Mixer] = []

    @abstractmethod
    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        """The network in any execution mode, in the axes of what it sees: (..., J, 3 or 4) from (..., J, input channels)."""

    def number_states(self) -> None:
        """Finds the order in which mixers are used, by a dry run. A topology calls it at the end of ``__init__``."""
        mode = ForwardMode(Timing(torch.ones(1, 1)))
        with torch.no_grad():
            self.lift(torch.zeros(1, 1, self.config.joints, self.config.input_channels), mode)
        if not mode.mixers_used and self.config.mixer is not None:
            raise UsageError("a lifter that never mixes over time", expected="at least one block over time")
        self._mixers_in_order = mode.mixers_used

    @property
    def state_shape(self) -> tuple[int, ...] | None:
        """(M, ...) of one stream, M states in the order of use; None for a window model."""
        inner = None if self.config.windowed else self._mixers_in_order[0].state_shape
        return None if inner is None else (len(self._mixers_in_order), *inner)

    @property
    def state_axes(self) -> tuple[str, ...]:
        """The names of the axes of ``state_shape``; empty for a window model."""
        return () if self.config.windowed else ("memory", *self._mixers_in_order[0].state_axes)

    def scale_sigma(self, factors: Tensor) -> None:
        """Multiply the standard deviations of the joints by these factors, (J,), in place: how they are calibrated.

        Raises:
            UsageError: the lifter gives none.
        """
        raise UsageError(f"a {self.config.topology} lifter without sigma", expected="a lifter with sigma")

    @property
    def latency_frames(self) -> int:
        """How many frames the returned pose lies behind the newest frame of a window: 0, or half a window (seq2frame)."""
        centre = self.config.pruning is not None and self.config.pruning.output == "centre"
        return self.config.window // 2 if centre and self.config.window is not None else 0

    def initial_state(self, batch: int) -> Tensor:
        """(B, M, ...) zeros: the state before the first frame.

        Raises:
            UsageError: the lifter sees a window and has no state.
        """
        if self.state_shape is None:
            raise UsageError(f"a {self.config.mixer_kind} lifter has no state", expected="retention or dssm that streams")
        return at_least_fp32(self.embed.weight).new_zeros(batch, *self.state_shape)

    def forward(
        self, x: Tensor, dt: Tensor | None = None, reset: Tensor | None = None, *, chunk_size: int | None = None
    ) -> Tensor:
        """(B, T, J, 3) from an empty state; (B, 1, J, 3), the middle frame's, from a seq2frame lifter.

        Args:
            dt, reset: (B, T). Attention uses neither: its windows are evenly spaced, of one person.
            chunk_size: T_s of a lifter with lookahead, NC-RetNet's staircase; None is one chunk of all T. A causal lifter
                sees the past alone, and attention the whole window, whatever the value.

        Raises:
            UsageError: keypoints of another shape, or more frames than the window.
        """
        timing = self._timing(x, dt, reset, chunk_size)
        mode = ForwardMode(timing) if self.pruner is None else PrunedMode(timing, self.pruner, x)
        return self._lift_in_view(x, mode)

    def chunk(
        self,
        x: Tensor,
        state: Tensor | None = None,
        dt: Tensor | None = None,
        reset: Tensor | None = None,
        *,
        chunk_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, T, J, 3) and the next state, (B, M, ...), from the state before (None: empty). dt, reset: (B, T).

        With lookahead, all T frames see one another unless ``chunk_size`` splits them; T may differ from call to call.
        """
        state = self.initial_state(x.shape[0]) if state is None else state
        mode = ChunkMode(self._timing(x, dt, reset, chunk_size), state)
        return self._lift_in_view(x, mode), mode.packed_state()

    def step(
        self, x: Tensor, state: Tensor | None = None, dt: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, J, 3) and the next state, (B, M, ...), from one frame (B, J, channels). dt, reset: (B,)."""
        state = self.initial_state(x.shape[0]) if state is None else state
        dt = None if dt is None else dt[:, None]
        reset = None if reset is None else reset[:, None]
        mode = StepMode(self._timing(x[:, None], dt, reset, 1), state, self._mixers_in_order)
        return self._lift_in_view(x, mode), mode.packed_state()

    def _lift_in_view(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        """The poses of keypoints (..., J, channels), seen in the view that the configuration names."""
        if self.config.view == "image":
            return self.lift(x, mode)
        x = x.to(at_least_fp32(self.embed.weight).dtype)
        view = look_at(x)
        y = self.lift(view.keypoints, mode)
        pose = view.to_camera(y[..., :3])
        return torch.cat([pose, y[..., 3:]], dim=-1) if self.config.sigma else pose

    def _timing(self, x: Tensor, dt: Tensor | None, reset: Tensor | None, chunk_size: int | None) -> Timing:
        frames = x.shape[1]
        if x.shape[2:] != (self.config.joints, self.config.channels) or frames == 0:
            expected = f"(B, T, {self.config.joints}, {self.config.channels}), T at least 1"
            raise UsageError(f"keypoints of shape {tuple(x.shape)}", expected=expected)
        if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
            raise UsageError(f"a chunk_size of {chunk_size}", expected="a whole number of frames, at least 1")
        if self.config.window is not None and frames > self.config.window:
            raise UsageError(f"{frames} frames at once", expected=f"at most the window of {self.config.window}")
        visible_frames = (chunk_size or frames) if self.config.lookahead else 1
        reference = at_least_fp32(self.embed.weight)  # time is never in half precision
        if dt is None:
            return Timing(reference.new_ones(1, frames), reset, visible_frames, uniform=True)
        return Timing.from_seconds(dt.to(reference.dtype), reset, fps=self.config.fps, chunk_size=visible_frames)

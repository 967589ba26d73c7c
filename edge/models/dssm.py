"""Diagonal state space model (HumMUSS, S4D): a bank of damped oscillators per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...runtime.errors import UsageError
from .mixer import Mixer
from .precision import at_least_fp32
from .timing import Timing, phase

Modes = Literal["lin", "inv"]
SHORT = 64  # up to that many places, sums are quicker than a transform
BLOCK = 9  # frames whose pairs are weighed one by one, where each stream has a timing of its own
BRIEF = 60.0  # up to e^60, a decay may be undone in float32


class DSSM(Mixer):
    """mix(q, k, v) = q * DSSM(k * v), with DSSM a linear time-invariant filter of each channel:

        x' = A x + u,   y = 2 Re(c x) + D u,   A = -exp(log_rate) + i frequency,   N/2 conjugate pairs,

    held over each frame's dt (zero-order hold): x_t = exp(A Delta dt_t) x_{t-1} + (exp(A Delta dt_t) - 1) / A u_t. dt scales
    the step Delta, so a stream at another frame rate, or at none, is the same filter. Its parameters are shared by the
    joints; complex numbers are written out in cos and sin, so that a graph holds real operations alone.

    HumMUSS filters alone: its blocks have q = k = 1 and gate around them.

    Initialisation: S4D-Lin, A_n = -1/2 + i pi n, or S4D-Inv, A_n = -1/2 + i (N/pi) (N / (2n + 1) - 1); Delta log-uniform in
    [1e-3, 1e-1] per nominal frame.

    Args:
        dim: channels C.
        joints: J.
        size: N, real numbers of state per channel (N/2 oscillators).
        modes: how A starts.
        shared: one A for all channels.
    """

    kind: ClassVar[str] = "dssm"

    def __init__(self, dim: int, joints: int = 17, size: int = 16, *, modes: Modes = "lin", shared: bool = False) -> None:
        super().__init__()
        if size % 2:
            raise UsageError(f"a dssm state of {size} numbers", expected="an even number: oscillators have two each")
        if modes not in get_args(Modes):
            raise UsageError(f"dssm modes {modes!r}", expected=f"one of {', '.join(get_args(Modes))}")
        self.joints, self.size = joints, size
        half, rows = size // 2, 1 if shared else dim
        n = torch.arange(half).float()
        frequency = math.pi * n if modes == "lin" else size / math.pi * (size / (2 * n + 1) - 1)
        low, high = math.log(1e-3), math.log(1e-1)
        self.log_step = nn.Parameter(torch.rand(dim) * (high - low) + low)  # (C,)
        self.log_rate = nn.Parameter(torch.full((rows, half), math.log(0.5)))  # (C or 1, N/2)
        self.frequency = nn.Parameter(frequency.repeat(rows, 1))
        self.read = nn.Parameter(torch.randn(2, dim, half) * 0.5**0.5)  # Re c, Im c
        self.skip = nn.Parameter(torch.randn(dim))  # D

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.joints, self.read.shape[1], self.size  # real parts, then imaginary ones

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        u = at_least_fp32(k) * at_least_fp32(v)  # (B, T, J, C)
        if timing.uniform and timing.reset is None:
            return at_least_fp32(q) * self.convolve(u, dim=1)
        return at_least_fp32(q) * self._filter(u, None, timing)[0]

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        y, after = self._filter(at_least_fp32(k) * at_least_fp32(v), state, timing)
        assert after is not None
        return at_least_fp32(q) * y, after

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        if timing.reset is not None:
            state = torch.where(timing.reset[:, 0].bool()[:, None, None, None, None], 0.0, state)
        elapsed = timing.elapsed[:, 0][:, None, None, None]
        decay, turn = torch.stack([m._exponent for m in mixers], dim=1)  # type: ignore[misc]  # 2 x (M, C, N/2)
        size = torch.exp(elapsed * decay)
        cos, sin = ((size * part)[:, :, None] for part in ((elapsed * turn).cos(), (elapsed * turn).sin()))
        re, im = state.chunk(2, dim=-1)  # (B, M, J, C, N/2)
        return torch.cat(_times((re, im), (cos, sin)), dim=-1)

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        u = at_least_fp32(k) * at_least_fp32(v)  # (B, J, C)
        hold = torch.cat(self._hold(timing.elapsed[:, 0]), dim=-1)  # (B, C, N)
        state = state + hold[:, None] * u[..., None]  # (B, J, C, N)
        read = torch.cat([self.read[0], -self.read[1]], dim=-1)  # (C, N)
        y = 2 * (state * read).sum(-1) + self.skip * u
        return at_least_fp32(q) * y, state

    # What the forms share.

    @property
    def _exponent(self) -> Tensor:
        """A Delta per nominal frame: real and imaginary part, (2, C, N/2)."""
        step = self.log_step.exp()[:, None]
        return torch.stack([-self.log_rate.exp() * step, self.frequency * step])

    def _power(self, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """exp(A Delta t), real and imaginary, (*, C, N/2) from (*)."""
        decay, turn = self._exponent
        angle = phase(elapsed[..., None, None], turn)
        size = torch.exp(elapsed[..., None, None].to(decay.dtype) * decay)
        return size * angle.cos(), size * angle.sin()

    def _hold(self, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """(exp(A Delta dt) - 1) / A, real and imaginary, (*, C, N/2) from (*)."""
        re, im = self._power(elapsed)
        a, b = -self.log_rate.exp(), self.frequency
        norm = a * a + b * b
        return ((re - 1) * a + im * b) / norm, (im * a - (re - 1) * b) / norm

    def _response(self, held: tuple[Tensor, Tensor], age: Tensor) -> Tensor:
        """2 Re(c hold exp(A Delta age)): what an input of that age is worth now, (*, C)."""
        re, im = self._power(age)
        x, y = _times((re, im), held)
        return 2 * (self.read[0] * x - self.read[1] * y).sum(-1)

    def kernel(self, frames: int) -> Tensor:
        """The impulse response at the nominal frame rate, without the skip, (T, C)."""
        age = torch.arange(frames, device=self.skip.device, dtype=self.skip.dtype)
        return self._response(self._hold(torch.ones_like(age)), age)

    def convolve(self, u: Tensor, dim: int) -> Tensor:
        """u (..., C) filtered along an axis of evenly spaced places (frames, or joints of a frame), from an empty memory."""
        u = at_least_fp32(u).movedim(dim, -1)  # (..., C, L)
        places = u.shape[-1]
        kernel = self.kernel(places).transpose(0, 1)  # (C, L)
        if places <= SHORT or torch.compiler.is_exporting():  # a graph has no transform, but a convolution
            y = F.conv1d(F.pad(u.flatten(0, -3), (places - 1, 0)), kernel.flip(1)[:, None], groups=len(kernel)).view_as(u)
        else:
            spectrum = torch.fft.rfft(kernel, n=2 * places)
            y = torch.fft.irfft(torch.fft.rfft(u, n=2 * places) * spectrum, n=2 * places)[..., :places]
        return (y + self.skip[:, None] * u).movedim(-1, dim)

    def _filter(self, u: Tensor, state: Tensor | None, timing: Timing) -> tuple[Tensor, Tensor | None]:
        """(B, T, J, C) and the state after it, from the state before it (None: empty, and nobody asks for the next one)."""
        frames = u.shape[1]
        brief = self._brief(timing)
        size = SHORT if brief or timing.elapsed.shape[0] == 1 or torch.compiler.is_exporting() else BLOCK
        carried, parts = state is not None or frames > size, []
        if carried and state is None:
            state = u.new_zeros(u.shape[0], *self.state_shape)
        for start in range(0, frames, size):
            span = slice(start, start + size)
            y, state = self._block(u[:, span], state, timing if frames <= size else timing.slice_frames(span), brief)
            parts.append(y)
        return (torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]), state

    def _brief(self, timing: Timing) -> bool:
        """Whether no mode decays so much within the call that its inverse would overflow.

        A graph cannot look. Off the processor only training does: to see the host would have to wait, which no CUDA graph
        can be captured of, and on meta tensors, which are counted, there is nothing to see.
        """
        trained = torch.is_grad_enabled() and self.skip.requires_grad
        if torch.compiler.is_compiling() or not (trained or self.skip.device.type == "cpu"):
            return False
        longest = timing.cached("longest", lambda: float(timing.time[:, -1].max()))  # asked once, not by each mixer
        return longest * -float(self._exponent[0].detach().min()) < BRIEF

    def _block(self, u: Tensor, state: Tensor | None, timing: Timing, brief: bool) -> tuple[Tensor, Tensor | None]:
        """As ``_filter``, with a weight for each pair of frames: of a brief call as a product of what each of the two knows."""
        held = self._hold(timing.elapsed)  # 2 x (B, T, C, N/2)
        re, im = self._power(timing.time)  # (B, T, C, N/2)
        c_re, c_im = 2 * self.read[0], 2 * self.read[1]
        reads = torch.cat([c_re * re - c_im * im, -(c_re * im + c_im * re)], dim=-1)  # (B, T, C, N), of the first frame's state
        past = torch.ones_like(timing.visible[0]).tril() & timing.visible  # (B, T, T), causal within a chunk of any size
        if brief:
            given = torch.cat(_times(self._power(-timing.time), held), dim=-1)  # (B, T, C, N)
            weights = reads.transpose(1, 2) @ given.permute(0, 2, 3, 1)  # (B, C, T, T), rows now, columns then
        else:
            age = (timing.time[:, :, None] - timing.time[:, None, :]).clamp(min=0).to(u.dtype)  # (B, T, T)
            weights = self._response((held[0][:, None], held[1][:, None]), age).permute(0, 3, 1, 2)
        y = _along(torch.where(past[:, None], weights, 0.0), u) + self.skip * u
        if state is None:
            return y, None

        state = self.decay_state([self], state[:, None], timing)[:, 0]  # (B, J, C, N) at the first frame
        recalled = _along(reads.transpose(1, 2), state.permute(0, 3, 1, 2))  # (B, T, J, C)
        x_re, x_im = state.chunk(2, dim=-1)
        last = torch.cat(_times((re[:, -1:], im[:, -1:]), (x_re, x_im)), dim=-1)  # (B, J, C, N)
        left = torch.cat(_times(self._power(timing.time[:, -1:] - timing.time), held), dim=-1)  # (B, T, C, N)
        if timing.reset is not None:  # select, don't multiply: a memory that is forgotten may hold anything, even NaN
            recalled = torch.where((timing.segment == 0)[:, :, None, None], recalled, 0.0)
            last = torch.where((timing.segment[:, -1] == 0)[:, None, None, None], last, 0.0)
            left = torch.where((timing.segment == timing.segment[:, -1:])[:, :, None, None], left, 0.0)
        new = _along(left.permute(0, 2, 3, 1), u)  # (B, N, J, C)
        return y + recalled, last + new.permute(0, 2, 3, 1)


def _times(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The product of two complex numbers, written out."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _along(weights: Tensor, x: Tensor) -> Tensor:
    """Each channel's matrix (B or 1, C, M, L) along the second axis of (B, L, J, C): (B, M, J, C)."""
    if weights.shape[0] == 1 and not torch.compiler.is_exporting():  # one matrix for all: a wider product
        y = weights[0] @ x.permute(3, 1, 0, 2).flatten(2)  # (C, M, B J)
        return y.unflatten(2, (x.shape[0], x.shape[2])).permute(2, 1, 3, 0)  # type: ignore[no-any-return]
    return (weights @ x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ReverseDSSM(Mixer):
    """A dssm that runs from the last frame of a window to the first: the other half of HumMUSS's bidirectional block."""

    kind: ClassVar[str] = "dssm"

    def __init__(self, dssm: DSSM) -> None:
        super().__init__()
        self.dssm = dssm

    @property
    def state_shape(self) -> None:
        return None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        q, k, v = (x.flip(1) if x.ndim else x for x in (q, k, v))  # HumMUSS's q and k are the number 1
        y = self.dssm(q, k, v, timing.cached("backwards", timing.time_reversed))
        return y.flip(1)  # type: ignore[no-any-return]

"""Diagonal state space model (HumMUSS, S4D): a bank of damped oscillators per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...runtime.errors import UsageError
from .mixer import Mixer, MixerConfig
from .precision import at_least_fp32
from .timing import Timing, phase
from .validation import check_literals, check_positive, check_whole_numbers

Modes = Literal["lin", "inv"]
MAX_DIRECT = 64  # positions up to which a direct sum is faster than a transform
PAIRWISE_BLOCK = 9  # frames whose pairs are weighted one by one, where each stream has its own timing
MAX_INVERTIBLE = 60.0  # a decay by up to e^60 can be undone in float32


class DSSM(Mixer):
    """mix(q, k, v) = q * DSSM(k * v), with DSSM a linear time-invariant filter of each channel:

        x' = A x + u,   y = 2 Re(c x) + D u,   A = -exp(log_rate) + i frequency,   N/2 conjugate pairs,

    discretised by a zero-order hold over each frame's dt: x_t = exp(A Delta dt_t) x_{t-1} + (exp(A Delta dt_t) - 1) / A u_t.
    dt scales the step Delta, so a stream at another frame rate, or at none, is the same filter. Its parameters are shared by
    the joints; complex numbers are written out in cos and sin, so that a graph holds real operations alone.

    HumMUSS filters alone: its blocks have q = k = 1 and gate around them.

    Initialisation: S4D-Lin, A_n = -1/2 + i pi n, or S4D-Inv, A_n = -1/2 + i (N/pi) (N / (2n + 1) - 1); Delta log-uniform in
    [1e-3, 1e-1] per nominal frame.

    Args:
        dim: channels C.
        joints: J.
        size: N, real numbers of state per channel (N/2 oscillators).
        modes: initialisation of A.
        shared: one A for all channels.
    """

    kind: ClassVar[str] = "dssm"
    state_axes: ClassVar[tuple[str, ...]] = ("joint", "channel", "mode")
    shared_by_head: ClassVar[bool] = False  # each channel is a filter of its own
    capturable: ClassVar[bool] = False  # ``_invertible`` reads times

    def __init__(self, dim: int, joints: int = 17, size: int = 16, *, modes: Modes = "lin", shared: bool = False) -> None:
        super().__init__()
        check_even(size)
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
        y, next_state = self._filter(at_least_fp32(k) * at_least_fp32(v), state, timing)
        assert next_state is not None
        return at_least_fp32(q) * y, next_state

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        if timing.reset is not None:
            state = torch.where(timing.reset[:, 0].bool()[:, None, None, None, None], 0.0, state)
        elapsed = timing.elapsed[:, 0][:, None, None, None]
        decay, turn = torch.stack([m._exponent for m in mixers], dim=1)  # type: ignore[misc]  # 2 x (M, C, N/2)
        size = torch.exp(elapsed * decay)
        cos, sin = ((size * part)[:, :, None] for part in ((elapsed * turn).cos(), (elapsed * turn).sin()))
        re, im = state.chunk(2, dim=-1)  # (B, M, J, C, N/2)
        return torch.cat(complex_product((re, im), (cos, sin)), dim=-1)

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        u = at_least_fp32(k) * at_least_fp32(v)  # (B, J, C)
        gain = torch.cat(self._input_gain(timing.elapsed[:, 0]), dim=-1)  # (B, C, N)
        state = state + gain[:, None] * u[..., None]  # (B, J, C, N)
        read = torch.cat([self.read[0], -self.read[1]], dim=-1)  # (C, N)
        y = 2 * (state * read).sum(-1) + self.skip * u
        return at_least_fp32(q) * y, state

    # Shared by the forms.

    @property
    def _exponent(self) -> Tensor:
        """A Delta per nominal frame: real and imaginary part, (2, C, N/2)."""
        step = self.log_step.exp()[:, None]
        return torch.stack([-self.log_rate.exp() * step, self.frequency * step])

    def _transition(self, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """exp(A Delta t), real and imaginary, (*, C, N/2) from (*)."""
        decay, turn = self._exponent
        angle = phase(elapsed[..., None, None], turn)
        size = torch.exp(elapsed[..., None, None].to(decay.dtype) * decay)
        return size * angle.cos(), size * angle.sin()

    def _input_gain(self, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """The zero-order hold (exp(A Delta dt) - 1) / A, real and imaginary, (*, C, N/2) from (*)."""
        re, im = self._transition(elapsed)
        a, b = -self.log_rate.exp(), self.frequency
        norm = a * a + b * b
        return ((re - 1) * a + im * b) / norm, (im * a - (re - 1) * b) / norm

    def _response(self, gain: tuple[Tensor, Tensor], age: Tensor) -> Tensor:
        """2 Re(c gain exp(A Delta age)): the output now for an input of that age, (*, C)."""
        re, im = self._transition(age)
        x, y = complex_product((re, im), gain)
        return 2 * (self.read[0] * x - self.read[1] * y).sum(-1)

    def kernel(self, frames: int) -> Tensor:
        """The impulse response at the nominal frame rate, without the skip, (T, C)."""
        age = torch.arange(frames, device=self.skip.device, dtype=self.skip.dtype)
        return self._response(self._input_gain(torch.ones_like(age)), age)

    def convolve(self, u: Tensor, dim: int) -> Tensor:
        """u (..., C) filtered along an axis of evenly spaced positions (frames, or joints of a frame), from an empty state."""
        u = at_least_fp32(u).movedim(dim, -1)  # (..., C, L)
        length = u.shape[-1]
        kernel = self.kernel(length).transpose(0, 1)  # (C, L)
        if length <= MAX_DIRECT or torch.compiler.is_exporting():  # a graph has convolutions, but no FFT
            y = F.conv1d(F.pad(u.flatten(0, -3), (length - 1, 0)), kernel.flip(1)[:, None], groups=len(kernel)).view_as(u)
        else:
            spectrum = torch.fft.rfft(kernel, n=2 * length)
            y = torch.fft.irfft(torch.fft.rfft(u, n=2 * length) * spectrum, n=2 * length)[..., :length]
        return (y + self.skip[:, None] * u).movedim(-1, dim)

    def _filter(self, u: Tensor, state: Tensor | None, timing: Timing) -> tuple[Tensor, Tensor | None]:
        """(B, T, J, C) and the next state, from the state before (None: empty, and no next state is computed)."""
        frames = u.shape[1]
        if self._may_read_times:
            timing = timing.cached("one_row", timing.one_row)
        invertible = self._invertible(timing)
        size = MAX_DIRECT if invertible or timing.elapsed.shape[0] == 1 or torch.compiler.is_exporting() else PAIRWISE_BLOCK
        carries_state, blocks = state is not None or frames > size, []
        if carries_state and state is None:
            state = u.new_zeros(u.shape[0], *self.state_shape)
        for start in range(0, frames, size):
            block = slice(start, start + size)
            block_timing = timing if frames <= size else timing.slice_frames(block)
            y, state = self._filter_block(u[:, block], state, block_timing, invertible)
            blocks.append(y)
        return (torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]), state

    @property
    def _may_read_times(self) -> bool:
        """Whether the values of a timing may choose the way to compute.

        A graph cannot read them. Outside the CPU only training reads them: reading waits for the device, which a CUDA graph
        cannot capture, and the meta tensors of cost counting hold no values.
        """
        trains = torch.is_grad_enabled() and self.skip.requires_grad
        return not torch.compiler.is_compiling() and (trains or self.skip.device.type == "cpu")

    def _invertible(self, timing: Timing) -> bool:
        """Whether no mode decays so much within a block of frames that the inverse of its decay would overflow."""
        if not self._may_read_times:
            return False
        # Read once for all mixers of the call.
        longest = timing.cached("longest_block", lambda: timing.longest(MAX_DIRECT))
        return longest * -float(self._exponent[0].detach().min()) < MAX_INVERTIBLE

    def _filter_block(self, u: Tensor, state: Tensor | None, timing: Timing, invertible: bool) -> tuple[Tensor, Tensor | None]:
        """As ``_filter``, with one weight for each pair of frames; of invertible decays the weights are a matrix product."""
        gain = self._input_gain(timing.elapsed)  # 2 x (B, T, C, N/2)
        re, im = self._transition(timing.time)  # (B, T, C, N/2)
        c_re, c_im = 2 * self.read[0], 2 * self.read[1]
        # (B, T, C, N): reads each frame's output from the state at the first frame
        reads = torch.cat([c_re * re - c_im * im, -(c_re * im + c_im * re)], dim=-1)
        past = torch.ones_like(timing.visible[0]).tril() & timing.visible  # (B, T, T), causal within a chunk of any size
        if invertible:
            writes = torch.cat(complex_product(self._transition(-timing.time), gain), dim=-1)  # (B, T, C, N)
            weights = reads.transpose(1, 2) @ writes.permute(0, 2, 3, 1)  # (B, C, T, T), rows: output, columns: input
        else:
            age = (timing.time[:, :, None] - timing.time[:, None, :]).clamp(min=0).to(u.dtype)  # (B, T, T)
            weights = self._response((gain[0][:, None], gain[1][:, None]), age).permute(0, 3, 1, 2)
        y = multiply_over_time(torch.where(past[:, None], weights, 0.0), u) + self.skip * u
        if state is None:
            return y, None

        state = self.decay_state([self], state[:, None], timing)[:, 0]  # (B, J, C, N) at the first frame
        from_state = multiply_over_time(reads.transpose(1, 2), state.permute(0, 3, 1, 2))  # (B, T, J, C)
        x_re, x_im = state.chunk(2, dim=-1)
        decayed = torch.cat(complex_product((re[:, -1:], im[:, -1:]), (x_re, x_im)), dim=-1)  # (B, J, C, N)
        until_end = self._transition(timing.time[:, -1:] - timing.time)
        at_end = torch.cat(complex_product(until_end, gain), dim=-1)  # (B, T, C, N)
        if timing.reset is not None:  # select, do not multiply: a state that is reset may hold anything, even NaN
            from_state = torch.where((timing.segment == 0)[:, :, None, None], from_state, 0.0)
            decayed = torch.where((timing.segment[:, -1] == 0)[:, None, None, None], decayed, 0.0)
            at_end = torch.where((timing.segment == timing.segment[:, -1:])[:, :, None, None], at_end, 0.0)
        added = multiply_over_time(at_end.permute(0, 2, 3, 1), u)  # (B, N, J, C)
        return y + from_state, decayed + added.permute(0, 2, 3, 1)


def check_even(size: int) -> None:
    """Raises a UsageError where N is odd."""
    if size % 2:
        raise UsageError(f"a dssm state of {size} numbers", expected="an even number: oscillators have two each")


def complex_product(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The product of two complex numbers, in real arithmetic."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def multiply_over_time(weights: Tensor, x: Tensor) -> Tensor:
    """Each channel's matrix (B or 1, C, M, L) applied to the second axis of (B, L, J, C): (B, M, J, C)."""
    if weights.shape[0] == 1 and not torch.compiler.is_exporting():  # one matrix for all streams: one larger product
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
        y = self.dssm(q, k, v, timing.cached("time_reversed", timing.time_reversed))
        return y.flip(1)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class DSSMConfig(MixerConfig):
    """A diagonal state space model over time.

    Args:
        state_size: N, real numbers of state per channel.
        modes: initialisation of A: S4D-Lin or S4D-Inv.
        shared_modes: one A for all channels.
    """

    kind: Literal["dssm"] = "dssm"
    state_size: int = 16
    modes: Modes = "lin"
    shared_modes: bool = False

    def __post_init__(self) -> None:
        check_literals(self)
        check_positive(self, "dssm")
        check_whole_numbers(self, "dssm", "state_size")
        check_even(self.state_size)

    def build(self, *, dim: int, heads: int, joints: int) -> DSSM:
        return DSSM(dim, joints, self.state_size, modes=self.modes, shared=self.shared_modes)

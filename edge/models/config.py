"""What every lifter is decided by, whatever its topology."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ...runtime.errors import UsageError
from ...runtime.pose.skeleton import H36M_ORDERS
from .attention import Attention
from .dssm import DSSM, Modes
from .literals import check_literals
from .mixer import Mixer
from .pruning import Pruning
from .retention import DISTANCES, Retention

MixerKind = Literal["attention", "retention", "dssm", "none"]
TopologyKind = Literal["alternating", "dual_stream", "moe", "frame"]


@dataclass(frozen=True, kw_only=True)
class LifterConfig:
    """The shape of a lifter; each topology adds its own fields.

    Args:
        topology: which of the topologies; each has a configuration class of its own.
        mixer: the temporal mixer; "none" leaves all blocks over time out, and sees one frame.
        dim, heads, layers, mlp_ratio: C, H, number of layers, width of the feed-forward over C.
        window: T of a lifter that sees a window and carries nothing: attention, and dssm in both directions. None for one
            that streams.
        lookahead: retention: the frames of a chunk see one another (NC-RetNet). dssm: both directions over a window.
            Attention always sees its whole window.
        channels: 2 (x, y) or 3 (x, y, confidence).
        skeleton: the joints, by a name of ``runtime.skeleton.SKELETONS``.
        fps: nominal frame rate: dt = 1 / fps is one step of the mixers.
        norm_eps: of the layer norms.
        zoh_gain: retention: keys are weighted by the time that they stand for (False: by 1, as published).
        distances: retention: the table of d_j, or "uniform".
        state_size, modes, shared_modes: dssm: N, how its frequencies start, and whether channels share them.
        pruning: H2OT's, around the blocks of an attention topology.
        units: of the poses: metres, or "image", MotionBERT's own: half the picture's width, times a factor of each clip.
    """

    topology: TopologyKind
    mixer: MixerKind
    dim: int
    heads: int
    layers: int
    mlp_ratio: int = 2
    window: int | None = None
    lookahead: bool = False
    channels: int = 3
    joints: int = 17
    skeleton: str = "h36m17"
    fps: float = 50.0
    norm_eps: float = 1e-5
    zoh_gain: bool = True
    distances: str = "h36m17"
    state_size: int = 16
    modes: Modes = "lin"
    shared_modes: bool = False
    pruning: Pruning | None = None
    units: Literal["metres", "image"] = "metres"

    def __post_init__(self) -> None:
        check_literals(self)
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < float("inf"):
                raise UsageError(f"a lifter of {name} {value}", expected="more than 0")
        for name in ("dim", "heads", "layers", "mlp_ratio", "joints", "channels", "state_size", "window"):
            value = getattr(self, name)
            if not isinstance(value, int | None):
                raise UsageError(f"a lifter of {name} {value!r}", expected="a whole number")
        if self.dim % self.heads:
            raise UsageError(
                f"a lifter of {self.dim} channels in {self.heads} heads", expected="heads that divide the channels"
            )
        if self.channels not in (2, 3):
            raise UsageError(f"a lifter of {self.channels} channels a joint", expected="2 (x, y) or 3 (x, y, confidence)")
        if self.skeleton not in H36M_ORDERS:
            raise UsageError(f"there is no skeleton {self.skeleton!r}", expected=f"one of {', '.join(H36M_ORDERS)}")
        if self.windowed != (self.window is not None):
            direction = " in both directions" if self.lookahead else ""
            raise UsageError(
                f"mixer {self.mixer}{direction} with window {self.window}",
                expected="a window for attention and for dssm in both directions, and for them alone",
            )
        timeless = self.topology in ("frame", "moe") and self.window == 1
        if (self.mixer == "none" and not timeless) or (self.mixer != "none" and self.topology == "frame"):
            raise UsageError(
                f"{self.topology} with mixer {self.mixer} and window {self.window}",
                expected="mixer none with a window of 1, in frame and moe; frame has no other",
            )
        if self.gated and self.mixer != "dssm":
            raise UsageError(f"gated blocks of {self.mixer}", expected="dssm: that is what they gate")
        if self.mixer == "dssm" and self.lookahead and not self.gated:
            raise UsageError("dssm in both directions", expected="gated blocks: they join the two")
        if self.distances not in (*DISTANCES, "uniform"):
            raise UsageError(f"there are no distances {self.distances!r}", expected=f"uniform, {', '.join(DISTANCES)}")
        if self.mixer == "retention" and len(self.distance_of_joint) != self.joints:
            raise UsageError(
                f"retention over {self.joints} joints", expected=f"the {len(self.distance_of_joint)} that it has decays for"
            )
        if self.pruning is not None:
            if self.mixer != "attention" or self.window is None:
                raise UsageError(f"pruning of {self.mixer}", expected="an attention lifter: a memory cannot skip frames")
            self.pruning.check(self.window, self.layers)

    @property
    def windowed(self) -> bool:
        """Whether it sees a window at once, and carries nothing from frame to frame."""
        return self.mixer in ("attention", "none") or (self.mixer == "dssm" and self.lookahead)

    @property
    def gated(self) -> bool:
        """Whether its blocks are HumMUSS's."""
        return False

    @property
    def distance_of_joint(self) -> tuple[float, ...]:
        """d_j of retention."""
        return (1.0,) * self.joints if self.distances == "uniform" else DISTANCES[self.distances]

    def make_mixer(self) -> Mixer:
        """One mixer of this lifter."""
        if self.mixer == "retention":
            return Retention(self.dim, self.heads, self.distance_of_joint, zoh_gain=self.zoh_gain)
        if self.mixer == "dssm":
            return DSSM(self.dim, self.joints, self.state_size, modes=self.modes, shared=self.shared_modes)
        return Attention(self.heads)

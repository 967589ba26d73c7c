"""The configuration that all lifters share, whatever their topology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...runtime.bounds import check_bytes
from ...runtime.errors import UsageError
from ...runtime.pose.keypoints import View
from ...runtime.pose.skeleton import H36M_ORDERS
from .attention import AttentionConfig
from .dssm import DSSMConfig
from .mixer import Mixer, MixerConfig
from .pruning import Pruning
from .retention import RetentionConfig
from .validation import check_literals, check_positive, check_whole_numbers
from .view import VIEW_CHANNELS

TopologyKind = Literal["alternating", "dual_stream", "moe", "frame"]

MIXER_CONFIGS: dict[str, type[MixerConfig]] = {
    "attention": AttentionConfig,
    "retention": RetentionConfig,
    "dssm": DSSMConfig,
}

_MOST_LAYERS = 1000


@dataclass(frozen=True, kw_only=True)
class LifterConfig:
    """The shape of a lifter; each topology adds its own fields.

    Args:
        topology: which of the topologies; each has its own configuration class.
        mixer: the temporal mixer and its settings; None leaves out all blocks over time, and such a lifter sees one frame.
        dim, heads, layers, mlp_ratio: C, H, number of layers, width of the feed-forward over C.
        window: T of a lifter that sees a window and carries no state: attention, and dssm in both directions. None for one
            that streams.
        lookahead: retention: the frames of a chunk see one another (NC-RetNet). dssm: both directions over a window.
            Attention always sees its whole window.
        channels: 2 (x, y) or 3 (x, y, confidence).
        skeleton: the joints, by a name in ``runtime.pose.skeleton.SKELETONS``.
        fps: nominal frame rate: dt = 1 / fps is one step of the mixers.
        norm_eps: of the layer norms.
        pruning: H2OT's, around the blocks of an attention topology.
        units: of the poses: metres, or "image", MotionBERT's own: half the picture's width, times a factor of each clip.
        view: what the network sees of each person: keypoints in the picture as it is ("image"), or in a virtual camera that
            looks at the person ("person"), see ``view``.
        sigma: the lifter also gives a standard deviation for each joint.

    Raises:
        UsageError: a value out of range, or fields that contradict one another.
    """

    topology: TopologyKind
    mixer: MixerConfig | None
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
    pruning: Pruning | None = None
    units: Literal["metres", "image"] = "metres"
    view: View = "image"
    sigma: bool = False

    def __post_init__(self) -> None:
        check_literals(self)
        check_positive(self, "lifter")
        check_whole_numbers(self, "lifter", "dim", "heads", "layers", "mlp_ratio", "joints", "channels", "window")
        self._check_sizes()
        self._check_mixer()
        self._check_window()
        self._check_gating()
        self._check_pruning()
        self._check_view()

    def _check_sizes(self) -> None:
        if self.layers > _MOST_LAYERS:
            raise UsageError(f"a lifter of {self.layers} layers", expected=f"at most {_MOST_LAYERS}")
        weights = self.layers * self.dim**2 * (4 + 2 * self.mlp_ratio)
        check_bytes("a lifter of that size", 4 * weights, error=UsageError)
        if self.dim % self.heads:
            raise UsageError(
                f"a lifter of {self.dim} channels in {self.heads} heads", expected="heads that divide the channels"
            )
        if self.channels not in (2, 3):
            raise UsageError(f"a lifter of {self.channels} channels a joint", expected="2 (x, y) or 3 (x, y, confidence)")
        if self.skeleton not in H36M_ORDERS:
            raise UsageError(f"there is no skeleton {self.skeleton!r}", expected=f"one of {', '.join(H36M_ORDERS)}")

    def _check_mixer(self) -> None:
        if self.mixer is None:
            return
        if not isinstance(self.mixer, MixerConfig):
            raise UsageError(f"mixer {self.mixer!r}", expected="the configuration of a mixer, such as RetentionConfig()")
        self.mixer.check_lifter(joints=self.joints)

    def _check_window(self) -> None:
        if self.windowed != (self.window is not None):
            direction = " in both directions" if self.lookahead else ""
            raise UsageError(
                f"mixer {self.mixer_kind}{direction} with window {self.window}",
                expected="a window for attention and for dssm in both directions, and for them alone",
            )
        single_frame = self.topology in ("frame", "moe") and self.window == 1
        if self.mixer is None and not single_frame:
            raise UsageError(
                f"{self.topology} with mixer {self.mixer_kind} and window {self.window}",
                expected="mixer none with a window of 1, in frame and moe",
            )

    def _check_gating(self) -> None:
        if self.gated and self.mixer_kind != "dssm":
            raise UsageError(f"gated blocks of {self.mixer_kind}", expected="dssm: gated blocks gate its filters")
        if self.mixer_kind == "dssm" and self.lookahead and not self.gated:
            raise UsageError("dssm in both directions", expected="gated blocks: they join the two")

    def _check_pruning(self) -> None:
        if self.pruning is None:
            return
        if self.mixer_kind != "attention" or self.window is None:
            raise UsageError(f"pruning of {self.mixer_kind}", expected="an attention lifter: a state cannot skip frames")
        self.pruning.check(self.window, self.layers)

    def _check_view(self) -> None:
        if self.view == "person" and (
            self.channels != 3 or self.skeleton != "h36m17" or self.pruning or self.units != "metres"
        ):
            raise UsageError(
                f"a view of the person with {self.channels} channels of {self.skeleton}, poses in {self.units}",
                expected="x, y and confidence of h36m17, metres, and no pruning",
            )
        if self.sigma and self.topology not in ("moe", "frame"):
            raise UsageError(f"a standard deviation from {self.topology}", expected="a lifter of topology moe or frame")

    @property
    def input_channels(self) -> int:
        """Channels a joint that the network reads: those of the keypoints, or of the view of the person."""
        return VIEW_CHANNELS if self.view == "person" else self.channels

    @property
    def mixer_kind(self) -> str:
        """The name of the mixer; "none" of a lifter of single frames."""
        return "none" if self.mixer is None else self.mixer.kind

    @property
    def windowed(self) -> bool:
        """Whether the lifter sees a window at once, and carries no state from frame to frame."""
        return self.mixer_kind in ("attention", "none") or (self.mixer_kind == "dssm" and self.lookahead)

    @property
    def gated(self) -> bool:
        """Whether its blocks are HumMUSS's."""
        return False

    def build_mixer(self, *, dim: int | None = None) -> Mixer:
        """One mixer of this lifter over ``dim`` channels (None: C), with fresh weights.

        Raises:
            UsageError: the lifter has no mixer.
        """
        if self.mixer is None:
            raise UsageError("a mixer of a lifter without one", expected="attention, retention or dssm")
        return self.mixer.build(dim=dim or self.dim, heads=self.heads, joints=self.joints)

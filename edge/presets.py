"""Presets: named configurations of lifters, with the figures that their papers print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..runtime.errors import UsageError
from ..runtime.registry import nearest
from .models.alternating import AlternatingConfig
from .models.attention import AttentionConfig
from .models.config import LifterConfig
from .models.dssm import DSSMConfig
from .models.dual_stream import DualStreamConfig
from .models.frame import FrameConfig
from .models.lifter import Lifter
from .models.mixer import MixerConfig
from .models.posemoe import PoseMoEConfig
from .models.pruning import Pruning
from .models.retention import RetentionConfig
from .models.topology import build


@dataclass(frozen=True)
class Published:
    """The figures that a paper prints for a system.

    Args:
        paper, where: the paper, and its tables.
        params, macs: as printed; ``macs`` of ``frames`` frames (half of what is printed as FLOPs).
        counts: the convention of ``macs``: "thop", or "linear" layers alone.
        figures: accuracies in millimetres and percent, by the paper's names.
        remark: a difference to consider in comparisons.
    """

    paper: str
    where: str
    params: float | None = None
    macs: float | None = None
    frames: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    counts: Literal["thop", "linear"] = "thop"


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Args:
        name: on the command line.
        config: of the network.
        note: a description in one line.
        published: the figures of the published system that it reproduces, if it does.
    """

    name: str
    config: LifterConfig
    note: str
    published: Published | None = None

    def build(self) -> Lifter:
        """The network with fresh weights."""
        return build(self.config)

    def fits(self, config: LifterConfig) -> bool:
        """Whether a network of that configuration is this preset, whatever the units of its poses."""
        return replace(config, units=self.config.units) == self.config


# Ours: PoseMoE in small, with each mixer. They see people in a view of the person, and say how sure they are of each joint.

SIZES: dict[str, dict[str, Any]] = {
    "s": {"dim": 64, "heads": 8, "layers": 2, "stem": 512},
    "m": {"dim": 128, "heads": 8, "layers": 4, "stem": 1024},
}
OUR_PARTS: dict[str, Any] = {"view": "person", "sigma": True, "gate": "bounded"}

MIXERS: list[tuple[MixerConfig, int | None, str]] = [
    (AttentionConfig(), 81, "PoseMoE as published, in small: softmax over a window of 81 frames"),
    (RetentionConfig(distances="bones"), None, "PoseMoE that streams: causal retention, one frame in, one pose out"),
    (DSSMConfig(), None, "PoseMoE that streams: diagonal state space model, one frame in, one pose out"),
]

OURS = [
    Preset(f"posemoe-{mixer.kind}-{size}", PoseMoEConfig(mixer=mixer, window=window, **shape, **OUR_PARTS), note)
    for size, shape in SIZES.items()
    for mixer, window, note in MIXERS
]

OURS += [
    Preset(
        f"posemoe-frame-{size}",
        PoseMoEConfig(mixer=None, window=1, **shape, **OUR_PARTS),
        "PoseMoE without time: one frame in, one pose out; the training of the others of its size starts from it",
    )
    for size, shape in SIZES.items()
]
OURS.append(
    Preset(
        "posemoe-retention-ahead-s",
        PoseMoEConfig(mixer=RetentionConfig(distances="bones"), lookahead=True, **SIZES["s"], **OUR_PARTS),
        "PoseMoE that streams by chunks: the frames of a chunk see one another, and the past",
    )
)
MLPS: dict[str, dict[str, Any]] = {
    size: {"dim": shape["stem"], "layers": 2, "mix_dim": shape["dim"], "heads": shape["heads"], "view": "person", "sigma": True}
    for size, shape in SIZES.items()
}
OURS += [
    Preset(f"frame-{size}", FrameConfig(**mlp), "the baseline without time: an MLP over the joints of one frame")
    for size, mlp in MLPS.items()
]
OURS += [
    Preset(
        f"frame-{mixer.kind}-{size}",
        FrameConfig(mixer=mixer, window=window, **mlp),
        f"an MLP over the joints of a frame, with {mixer.kind} over time: the stem of posemoe-{mixer.kind}-{size}",
    )
    for size, mlp in MLPS.items()
    for mixer, window, _ in MIXERS
]

# The papers'. Sizes that a paper does not give are chosen as docs/ says, page by page.

POSEMOE = "PoseMoE, arXiv 2512.16494"
POSERETNET = "PoseRetNet (NC-RetNet), ECCV 2024"
HUMMUSS = "HumMUSS, arXiv 2404.10880"
H2OT = "H2OT, TPAMI 2025"
MIXSTE = "MixSTE, CVPR 2022"
MOTIONBERT = "MotionBERT, ICCV 2023"

posemoe = PoseMoEConfig(
    mixer=AttentionConfig(), dim=128, heads=8, layers=12, mlp_ratio=4, window=243, channels=2, norm_pose=False
)
mixste = AlternatingConfig(mixer=AttentionConfig(), dim=512, heads=8, layers=8, window=243, channels=2, norm_eps=1e-6)
poseretnet = AlternatingConfig(
    mixer=RetentionConfig(zoh_gain=False), dim=512, heads=8, layers=8, channels=2, norm_eps=1e-6, lookahead=True, bias=False
)
motionbert = DualStreamConfig(
    mixer=AttentionConfig(), dim=256, heads=8, layers=5, mlp_ratio=4, window=243, channels=3, norm_eps=1e-6
)
hummuss = DualStreamConfig(
    mixer=DSSMConfig(state_size=64, shared_modes=True),
    block="gated",
    dim=256,
    heads=8,
    layers=7,
    channels=3,
    positions=False,
)

RAW = "the printed figures omit retention's projections, which are raw weights in the published code"
OMITTED = "the paper does not give the sizes; ours reproduce its count of parameters"
ONE_OF_MANY = "the paper does not give the sizes; ours nearly reproduce both printed counts, and other sizes would do so too"

PAPERS = [
    Preset(
        "posemoe-h36m-243",
        posemoe,
        "PoseMoE at the paper's size, 243 frames",
        Published(
            POSEMOE, "Tables I, II, III", 17.9e6, 66.3e9, 243, {"MPJPE CPN": 38.7, "P-MPJPE CPN": 31.0, "MPJPE GT": 16.5},
            ONE_OF_MANY,
        ),
    ),
    Preset(
        "posemoe-h36m-81",
        replace(posemoe, window=81),
        "PoseMoE at the paper's size, 81 frames",
        Published(POSEMOE, "Tables I, II", None, None, 81, {"MPJPE CPN": 40.7, "P-MPJPE CPN": 32.6}, ONE_OF_MANY),
    ),
    Preset(
        "poseretnet-h36m-243",
        poseretnet,
        "MixSTE with retention over time, trained with chunks of 243 frames, run with any",
        Published(
            POSERETNET, "Tables 1, 2", 25.2e6, 104.4e9, 243,
            {"MPJPE CPN": 40.4, "P-MPJPE CPN": 32.5, "MPJVE CPN": 2.0, "MPJPE GT": 21.5}, RAW,
        ),
    ),
    *(
        Preset(
            f"poseretnet-3dhp-{frames}",
            replace(poseretnet, skeleton="3dhp17", mixer=RetentionConfig(zoh_gain=False, distances="3dhp17")),
            f"PoseRetNet for MPI-INF-3DHP, tested with chunks of {frames} frames",
            Published(POSERETNET, "Table 3", 25.2e6, None, frames, {"PCK": pck, "AUC": auc, "MPJPE": error}, RAW),
        )
        for frames, pck, auc, error in ((9, 98.9, 83.3, 24.1), (27, 99.1, 84.1, 22.7), (81, 99.1, 84.4, 22.2))
    ),
    Preset(
        "hummuss-bi",
        replace(hummuss, layers=6, window=243, lookahead=True, bias=False),
        "gated state space blocks in both directions, over a window",
        Published(HUMMUSS, "Table 1", 16e6, None, 243, {"MPJPE 3DHP": 18.7, "PCK": 99.0, "AUC": 87.1}, OMITTED),
    ),
    Preset(
        "hummuss-causal",
        hummuss,
        "gated state space blocks that stream: one frame in, one pose out, at any frame rate",
        Published(HUMMUSS, "Table 1", 16e6, None, None, {"MPJPE 3DHP": 24.6, "PCK": 98.2, "AUC": 85.6}, OMITTED),
    ),
    Preset(
        "mixste-243",
        mixste,
        "attention over joints and over time, by turns",
        Published(
            MIXSTE, "as H2OT's Table 3 and PoseMoE's Table III print it", 33.78e6, 139.0e9, 243,
            {"MPJPE CPN": 40.9, "P-MPJPE CPN": 32.6, "MPJPE GT": 21.6},
        ),
    ),
    Preset(
        "mixste-hot-243",
        replace(mixste, pruning=Pruning(keep=(81,), layers=(3,), by="tpc", recover="tra", positions=True)),
        "MixSTE that prunes once by clustering (HoT)",
        Published(H2OT, "Tables 2, 3, 4", 35.00e6, 167.52e9 / 2, 243, {"MPJPE CPN": 41.0}, counts="linear"),
    ),
    Preset(
        "mixste-h2ot-243",
        replace(mixste, pruning=Pruning(keep=(121, 81), layers=(0, 3))),
        "MixSTE that prunes 243 frames to 121 and 81, and interpolates",
        Published(H2OT, "Tables 3, 4", 33.78e6, 118.23e9 / 2, 243, {"MPJPE CPN": 40.5}, counts="linear"),
    ),
    Preset(
        "mixste-h2ot-centre-243",
        replace(mixste, pruning=Pruning(keep=(121, 81), layers=(0, 3), recover="none", output="centre")),
        "the same for the middle frame of each window alone (seq2frame)",
        Published(H2OT, "Table 3", 33.78e6, 118.23e9 / 2, 243, {"MPJPE CPN": 40.4}, counts="linear"),
    ),
    Preset(
        "motionbert-lite-243",
        motionbert,
        "joints then time beside time then joints, attention",
        Published(
            MOTIONBERT, "as H2OT's Table 3 prints it", 16.00e6, 131.09e9 / 2, 243, {"MPJPE SH": 39.8},
            counts="linear",
        ),
    ),
    Preset(
        "motionbert-base-243",
        replace(motionbert, dim=512, mlp_ratio=2),
        "MotionBERT at full width",
        Published(MOTIONBERT, "the published checkpoint", 42.5e6, None, 243),
    ),
    Preset(
        "motionbert-lite-h2ot-243",
        replace(motionbert, pruning=Pruning(keep=(121, 81), layers=(0, 1))),
        "MotionBERT lite that prunes 243 frames to 121 and 81, and interpolates",
        Published(H2OT, "Table 3", 16.00e6, 47.98e9 / 2, 243, {"MPJPE SH": 39.9}, counts="linear"),
    ),
    Preset(
        "posemoe-h2ot-243",
        replace(posemoe, pruning=Pruning(keep=(121, 81), layers=(0, 3))),
        "PoseMoE that prunes as MixSTE does in H2OT; no paper has it",
    ),
]  # fmt: skip

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*OURS, *PAPERS)}


def find_preset(name: str) -> Preset:
    """The preset of that name; an unknown one is a UsageError that suggests the nearest."""
    if name in PRESETS:
        return PRESETS[name]
    example = nearest(name, PRESETS, cutoff=0.0)
    raise UsageError(f"there is no preset {name!r}", expected=f"for example {example}", run="posemoe-edge models")

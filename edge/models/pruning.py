"""H2OT (Hierarchical Hourglass Tokenizer): a network prunes frames between its layers and recovers them at its end.

A plug-in around the blocks of any attention topology. The topology calls ``ExecutionMode.before_layer`` where a layer begins;
whether frames are pruned there is not its concern.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .attention import Attention, attention_map, join_heads, split_heads
from .mixer import Mixer
from .modes import ForwardMode
from .precision import at_least_fp32
from .timing import Timing
from .validation import check_literals

FrameSelection = Literal["tps", "tpc", "tpa", "tpmo"]
Recovery = Literal["tri", "tra", "none"]
NEIGHBOURS = 2  # k of TPC's k nearest neighbours, a token itself among them


@dataclass(frozen=True)
class Pruning:
    """Where frames are pruned, how they are selected, and how they are recovered.

    Args:
        keep: r_m, how many frames stage m keeps.
        layers: b_m, the layer before which stage m prunes. In ``alternating``, 0 is between the first block over joints and
            the first block over time (which is what the published FLOPs count).
        by: tps samples evenly; tpc takes cluster centres, tpa the most attended frames, tpmo those with most motion.
        recover: tri interpolates the poses (after tps only: it needs evenly spaced frames). tra computes them by
            cross-attention from a learnt query for every frame to the kept frames. none returns the middle frame alone
            (seq2frame).
        output: "sequence" (seq2seq) or "centre" (seq2frame).
        ties: which frame tps takes for a time between two: the nearest, in a tie the even one ("round", numpy's rule), or
            always the earlier one ("floor").
        interpolate: tri treats the kept poses as evenly spaced ("aligned") or uses their true times ("kept").
        positions: new position embeddings after each stage, as in HoT.
    """

    keep: tuple[int, ...]
    layers: tuple[int, ...]
    by: FrameSelection = "tps"
    recover: Recovery = "tri"
    output: Literal["sequence", "centre"] = "sequence"
    ties: Literal["round", "floor"] = "round"
    interpolate: Literal["aligned", "kept"] = "aligned"
    positions: bool = False

    def check(self, window: int, layers: int) -> None:
        """Raises a UsageError where a network of that many layers over such a window cannot be pruned this way."""

        def refuse(problem: str, expected: str) -> None:
            raise UsageError(f"pruning {problem}", expected=expected)

        check_literals(self)
        decreasing = all(a > b for a, b in zip((window, *self.keep), self.keep, strict=False))
        if not self.keep or len(self.keep) != len(self.layers) or not decreasing or self.keep[-1] < 1:
            refuse(
                f"to {self.keep} of {window} frames at layers {self.layers}",
                "fewer frames at each stage, one layer a stage",
            )
        if list(self.layers) != sorted(set(self.layers)) or not 0 <= self.layers[0] <= self.layers[-1] < layers:
            refuse(f"at layers {self.layers} of {layers}", "increasing numbers of existing layers")
        if (self.recover == "none") != (self.output == "centre"):
            refuse(f"with recover {self.recover} and output {self.output}", "none with centre, tri or tra with sequence")
        if self.recover == "tri" and self.by != "tps":
            refuse(f"by {self.by} with tri", "tra: interpolation needs the evenly spaced frames of tps")
        if self.by == "tpa" and self.layers[0] == 0:
            refuse("by tpa at layer 0", "a later layer: no frame has attended to another before layer 0")
        if self.output == "centre" and self.by == "tps" and window // 2 not in sampled_frames(window, self):
            refuse(f"to {self.keep} of {window} frames", "odd numbers from 3 on, so that the middle frame is kept")


def sampled_frames(window: int, pruning: Pruning) -> list[int]:
    """The frames of the window that tps keeps after its last stage."""
    remaining = np.arange(window)
    for keep in pruning.keep:
        remaining = remaining[evenly_spaced(len(remaining), keep, pruning.ties)]
    return [int(frame) for frame in remaining]


def evenly_spaced(frames: int, keep: int, ties: str) -> np.ndarray:
    """(keep,) indices spread evenly over ``frames``, including both ends."""
    gaps = max(keep - 1, 1)
    before, rest = np.divmod(np.arange(keep) * (frames - 1), gaps)  # in whole numbers, so that a half is exact
    if ties == "floor":
        return before
    return before + ((2 * rest > gaps) | ((2 * rest == gaps) & (before % 2 == 1)))  # type: ignore[no-any-return]


class Pruner(nn.Module):
    """The weights of pruning: TRA's query tokens and cross-attention, and HoT's positions. tps and tri have none.

    The frame indices of tps and the weights of tri depend on numbers of frames alone. They are buffers, so that a call copies
    nothing from the host.
    """

    def __init__(self, pruning: Pruning, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.pruning, self.window, self.heads = pruning, window, heads
        stages = pruning.keep if pruning.positions else ()
        self.positions = nn.ParameterList(nn.Parameter(torch.zeros(keep, 1, dim)) for keep in stages)  # (r_m, 1, C)
        if pruning.recover == "tra":
            self.query = nn.Parameter(torch.zeros(window, dim))  # x'
            self.to_query = nn.Linear(dim, dim)
            self.to_key_value = nn.Linear(dim, 2 * dim)
            self.out = nn.Linear(dim, dim)
        if pruning.by == "tps":
            for stage, (frames, keep) in enumerate(zip((window, *pruning.keep), pruning.keep, strict=False)):
                frames_of_stage = torch.tensor(evenly_spaced(frames, keep, pruning.ties))
                self.register_buffer(f"even{stage}", frames_of_stage, persistent=False)
        if pruning.recover == "tri":
            self.register_buffer("between", torch.tensor(interpolation(window, pruning)), persistent=False)

    def recover(self, x: Tensor) -> Tensor:
        """TRA, equation 5: x' + MCA(x', x, x) for each joint, (B, T, J, C) from (B, r, J, C)."""
        context = x.transpose(1, 2)  # (B, J, r, C)
        query = self.query.expand(*context.shape[:2], -1, -1)  # (B, J, T, C)
        q = split_heads(self.to_query(query), self.heads)
        k, v = split_heads(self.to_key_value(context), 2 * self.heads).chunk(2, dim=-3)
        return (query + self.out(join_heads(attention_map(q, k) @ v))).transpose(1, 2)  # type: ignore[no-any-return]


class PrunedMode(ForwardMode):
    """A forward over a whole window, in which each stage of pruning drops frames."""

    def __init__(self, timing: Timing, pruner: Pruner, keypoints: Tensor) -> None:
        super().__init__(timing)
        self.pruner, self.pruning = pruner, pruner.pruning
        frames = keypoints.shape[1]
        if frames != pruner.window:
            raise UsageError(f"a window of {frames} frames", expected=f"all {pruner.window}, which the pruning is made for")
        self.positions_2d = keypoints[..., :2]
        self.kept_frames = torch.arange(frames, device=keypoints.device)  # (r,) indices into the window, or (B, r)
        self.attended: tuple[Attention, Tensor, Tensor] | None = None

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if isinstance(mixer, Attention):
            self.attended = mixer, q, k
        return super().mix(mixer, q, k, v)

    def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
        if layer not in self.pruning.layers:
            return features
        stage = self.pruning.layers.index(layer)
        keep = self.pruning.keep[stage]
        if self.pruning.by == "tps":
            frames = self.pruner.get_buffer(f"even{stage}")  # (r,) indices into the current frames
        else:
            score = self._score(features[0])
            if self.pruning.output == "centre":
                score = torch.where(self.kept_frames == self.pruner.window // 2, float("inf"), score)
            frames = top_frames(score, keep)
        self.kept_frames = self.kept_frames[frames] if self.kept_frames.ndim == 1 else self.kept_frames.gather(1, frames)
        features = tuple(gather_frames(x, frames) for x in features)
        if not self.pruning.positions:
            return features
        return features[0] + self.pruner.positions[stage], *features[1:]

    def before_head(self, x: Tensor) -> Tensor:
        return self.pruner.recover(x) if self.pruning.recover == "tra" else x

    def after_head(self, pose: Tensor) -> Tensor:
        if self.pruning.output == "centre":
            middle = (self.kept_frames == self.pruner.window // 2).to(pose.dtype)  # (r,) or (B, r), one of them 1
            return (pose * middle[..., None, None]).sum(1, keepdim=True)
        if self.pruning.recover == "tra":
            return pose
        weights = self.pruner.get_buffer("between").to(pose.dtype)  # (T, r)
        recovered: Tensor = weights @ pose.flatten(-2)  # (B, T, J 3)
        return recovered.unflatten(-1, pose.shape[-2:])  # type: ignore[no-any-return]

    def _score(self, x: Tensor) -> Tensor:
        """(B, T) score of each frame, from (B, T, J, C); the frames with the highest scores are kept."""
        if self.pruning.by == "tpc":
            return cluster_score(at_least_fp32(x).mean(-2))
        if self.pruning.by == "tpmo":
            positions = gather_frames(self.positions_2d, self.kept_frames)  # (B, T, J, 2)
            moved = (positions[:, 1:] - positions[:, :-1]).abs().sum((-2, -1))
            return torch.cat([torch.zeros_like(moved[:, :1]), moved], dim=1)  # equation 4
        assert self.attended is not None
        mixer, q, k = self.attended
        q, k = (split_heads(part.transpose(1, 2), mixer.heads) for part in (q, k))  # (B, J, H, T, d)
        return at_least_fp32(attention_map(q, k)).mean((1, 2)).sum(-2)  # the attention that each frame receives from all frames


def gather_frames(x: Tensor, frames: Tensor) -> Tensor:
    """Some frames of (B, T, J, C) or of (T, J, C): the same for all rows (r,), or for each row its own (B, r)."""
    if frames.ndim == 1:
        return x.index_select(-3, frames)
    if x.ndim == 3:
        return x[frames]
    return x.gather(1, frames[..., None, None].expand(-1, -1, *x.shape[2:]))


def top_frames(score: Tensor, keep: int) -> Tensor:
    """The frames with the highest scores, (B, r) in the order of time, from (B, T); in a tie the earlier frame.

    Engines break the ties of a top-k differently, and an unmoving person gives equal scores, so the frames are ranked first.
    """
    index = torch.arange(score.shape[-1], device=score.device)
    own, others = score[:, :, None], score[:, None, :]
    ahead = (others > own) | ((others == own) & (index < index[:, None]))
    rank = ahead.float().sum(-1)
    return rank.neg().topk(keep, dim=-1).indices.sort(dim=-1).values


def cluster_score(x: Tensor) -> Tensor:
    """TPC: density peaks among k nearest neighbours, (B, T) from (B, T, C). Equations 1 and 2.

    A frame scores high if many frames are similar to it and no denser frame is near. Of equally dense frames the earlier
    one counts as the denser; the published code breaks such ties at random.
    """
    square, product = (x * x).sum(-1), x @ x.mT
    product = (product + product.mT) / 2  # exactly symmetric: two nearest neighbours are equally dense
    apart2 = (square[:, :, None] + square[:, None, :] - 2 * product).clamp(min=0) / x.shape[-1]  # (B, T, T)
    index = torch.arange(x.shape[1], device=x.device)
    apart2 = torch.where(index[:, None] == index, 0.0, apart2)
    near = (-apart2).topk(NEIGHBOURS, dim=-1).values
    density = near.mean(-1).exp()  # (B, T)
    own, others = density[:, :, None], density[:, None, :]
    denser = (others > own) | ((others == own) & (index[:, None] > index))
    apart = apart2.sqrt()
    furthest = apart.amax(-1, keepdim=True)
    return density * torch.where(denser, apart, furthest).amin(-1)


def interpolation(window: int, pruning: Pruning) -> np.ndarray:
    """(T, r) weights with which TRI interpolates the poses of all frames from those of the kept frames."""
    kept_frames = np.array(sampled_frames(window, pruning), np.float64)
    times = np.linspace(0, window - 1, len(kept_frames)) if pruning.interpolate == "aligned" else kept_frames
    frames = np.arange(window, dtype=np.float64)
    return np.stack([np.interp(frames, times, row) for row in np.eye(len(kept_frames))], axis=1)

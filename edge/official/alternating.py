"""MixSTE, HoT and PoseRetNet: one topology, two mixers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import ArtefactError, UsageError
from ..models.alternating import AlternatingConfig
from ..models.attention import AttentionConfig
from ..models.pruning import Pruning
from ..models.retention import DISTANCES, RetentionConfig, one_minus_gamma
from .options import Options
from .rename import Rename, Weights, attention, both, feed, first
from .shapes import DATASETS, count, norm_eps, pruning_of, ratio, size


def alternating(weights: Weights, options: Options) -> dict[str, Any]:
    """What MixSTE and PoseRetNet have in common."""
    dim, layers = size(weights, "Spatial_patch_to_embedding.weight", 0), count(weights, "STEblocks.")
    joints = size(weights, "Spatial_pos_embed", 1)
    options.agree(dim, "embed_dim", "channel")
    options.agree(layers, "depth", "layers")
    options.agree(joints, "n_joints")
    return {
        "dim": dim,
        "channels": size(weights, "Spatial_patch_to_embedding.weight", 1),
        "layers": layers,
        "joints": joints,
        "mlp_ratio": ratio(weights, options, "STEblocks.0.mlp.fc1.weight", dim),
        "norm_eps": norm_eps(options),
    }


def mixste(weights: Weights, options: Options) -> AlternatingConfig:
    """MixSTE2, and HoT's Model around it, whose tokens tell it from MixSTE."""
    window = size(weights, "Temporal_pos_embed", 1)
    options.agree(window, "num_frame", "frames")
    pruning = pruning_of(options)
    if "pos_embed_token" in weights:
        keep = size(weights, "pos_embed_token", 1)
        options.agree(keep, "token_num")
        layer = options.whole("layer_index", 3)
        pruning = Pruning(keep=(keep,), layers=(layer,), by="tpc", recover="tra", positions=True)
    return AlternatingConfig(
        mixer=AttentionConfig(),
        window=window,
        heads=options.whole("num_heads", 8),
        pruning=pruning,
        skeleton=options.word("dataset", DATASETS) or "h36m17",
        **alternating(weights, options),
    )


def poseretnet(weights: Weights, options: Options) -> AlternatingConfig:
    """RetMixSTE. Its frames have no numbers, so that any length goes."""
    heads = count(weights, "TTEblocks.0.attn.retentions.")
    options.agree(heads, "num_heads")
    skeleton, distances = decays(weights, options, heads)
    return AlternatingConfig(
        mixer=RetentionConfig(zoh_gain=False, distances=distances),
        heads=heads,
        lookahead=options.flag("uncausal", not options.flag("causal", False)),
        bias=False,
        skeleton=skeleton,
        **alternating(weights, options),
    )


def decays(weights: Weights, options: Options, heads: int) -> tuple[str, str]:
    """Skeleton and table of distances of a PoseRetNet: its decays tell, where joints differ in them, and else the options."""
    said = options.word("dataset", DATASETS)
    related = options.flag("joint_related", True)
    name = "TTEblocks.{}.attn.retentions.{}.gamma"
    for layer in range(count(weights, "TTEblocks.")):
        for head in range(heads):
            here, like = weights.get(name.format(layer, head)), weights.get(name.format(0, head))
            if here is None or like is None:
                continue  # it will be named with all that is missing
            if not torch.equal(here, like):
                raise ArtefactError(
                    f"{name.format(layer, head)} differs from layer 0's", expected="decays that were not trained"
                )
            if not bool(((here > 0) & (here < 1)).all()):
                raise ArtefactError(f"{name.format(layer, head)} is not between 0 and 1", expected="decays, which forget")
    gammas = [weights[name.format(0, head)] for head in range(heads) if name.format(0, head) in weights]
    if len(gammas) < heads:
        return said or "h36m17", "uniform"
    if all(gamma.numel() == 1 or bool((gamma == gamma.flatten()[0]).all()) for gamma in gammas):
        return said or "h36m17", "uniform"
    if not related:
        raise UsageError("the configuration says joint_related false", expected="true, as the decays have it")
    divider = options.number("gamma_divider", 8)
    for skeleton in DATASETS.values():
        forget = one_minus_gamma(heads, DISTANCES[skeleton]) * 8 / divider  # (J, H)
        if all(
            g.shape == e.shape and torch.allclose(g.double(), 1 - e, atol=1e-6) for g, e in zip(gammas, forget.T, strict=True)
        ):
            if said not in (None, skeleton):
                raise UsageError(
                    "the configuration says another dataset", expected=f"the one of {skeleton}, as the decays have it"
                )
            return skeleton, skeleton
    if said is None:
        raise UsageError(
            "the decays are of no skeleton that is known", expected="dataset, or the gamma_divider of its training"
        )
    return said, said


def retention(ours: str, block: str, heads: int, joints: int) -> Iterator[Rename]:
    """A pre-norm retention, whose official matrices are (in, out), one for each head; so are decays, for all joints or each."""
    yield from both(f"{ours}.project.norm", f"{block}.norm1")
    parts = [f"{block}.attn.retentions.{head}.W_{part}" for part in "QKV" for head in range(heads)]
    yield Rename(f"{ours}.project.own.weight", (*parts, f"{block}.attn.W_G"), lambda *w: fused(w, heads))
    yield Rename(f"{ours}.out.weight", (f"{block}.attn.W_O",), lambda w: w.mT)
    yield from both(f"{ours}.readout", f"{block}.attn.group_norm")
    gammas = tuple(f"{block}.attn.retentions.{head}.gamma" for head in range(heads))
    yield Rename(f"{ours}.mixer.decay", gammas, lambda *gamma: torch.stack([g.expand(joints) for g in gamma], dim=1))  # (J, H)


def scales(config: AlternatingConfig) -> set[str]:
    """xPos's zeta, which the published code keeps beside the weights."""
    places = ((layer, head) for layer in range(config.layers) for head in range(config.heads))
    return {f"TTEblocks.{layer}.attn.retentions.{head}.xpos.scale" for layer, head in places}


def fused(weights: tuple[Tensor, ...], heads: int) -> Tensor:
    """Queries, keys, values and gate as one matrix (4 C, C). xPos pairs lie half a head apart here, side by side there."""
    turned = [torch.cat([w[:, 0::2], w[:, 1::2]], dim=1) for w in weights[: 2 * heads]]
    return torch.cat([*turned, *weights[2 * heads :]], dim=1).mT


def alternating_renames(config: AlternatingConfig) -> Iterator[Rename]:
    """MixSTE's weights, or PoseRetNet's; HoT's if it prunes."""
    yield from both("embed", "Spatial_patch_to_embedding")
    yield Rename("position", ("Spatial_pos_embed",), first)
    if config.window is not None:
        yield Rename("position_time", ("Temporal_pos_embed",), lambda w: first(w)[:, None])
    for layer in range(config.layers):
        yield from attention(f"over_joints.{layer}.attention", f"STEblocks.{layer}")
        yield from feed(f"over_joints.{layer}.feed", f"STEblocks.{layer}")
        if config.mixer_kind == "retention":
            yield from retention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}", config.heads, config.joints)
        else:
            yield from attention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}")
        yield from feed(f"over_time.{layer}.feed", f"TTEblocks.{layer}")
    yield from both("norm_joints", "Spatial_norm")
    yield from both("norm_time", "Temporal_norm")
    yield from both("head.0", "head.0")
    yield from both("head.1", "head.1")
    if config.pruning is not None and config.pruning.recover == "tra":
        yield Rename("pruner.positions.0", ("pos_embed_token",), lambda w: first(w)[:, None])
        yield Rename("pruner.query", ("x_token",), first)
        yield from both("pruner.to_query", "cross_attention.linear_q")
        for part in ("weight", "bias"):
            names = tuple(f"cross_attention.linear_{one}.{part}" for one in "kv")
            yield Rename(f"pruner.to_key_value.{part}", names, lambda *w: torch.cat(w))
        yield from both("pruner.out", "cross_attention.proj")

"""MixSTE, HoT and PoseRetNet: one topology, two mixers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..models.alternating import AlternatingConfig
from ..models.attention import AttentionConfig
from ..models.pruning import Pruning
from ..models.retention import RetentionConfig
from .conversion import ConvertedWeight, Weights, feed_forward, self_attention, weight_and_bias, without_batch_axis
from .decays import skeleton_and_distances
from .options import Options
from .shapes import DATASETS, axis_length, mlp_ratio, norm_eps, part_count, pruning_from


def _common_fields(weights: Weights, options: Options) -> dict[str, Any]:
    """The configuration fields that MixSTE and PoseRetNet share."""
    dim, layers = axis_length(weights, "Spatial_patch_to_embedding.weight", 0), part_count(weights, "STEblocks.")
    joints = axis_length(weights, "Spatial_pos_embed", 1)
    options.require(dim, "embed_dim", "channel")
    options.require(layers, "depth", "layers")
    options.require(joints, "n_joints")
    return {
        "dim": dim,
        "channels": axis_length(weights, "Spatial_patch_to_embedding.weight", 1),
        "layers": layers,
        "joints": joints,
        "mlp_ratio": mlp_ratio(weights, options, "STEblocks.0.mlp.fc1.weight", dim),
        "norm_eps": norm_eps(options),
    }


def mixste_config(weights: Weights, options: Options) -> AlternatingConfig:
    """MixSTE2, or HoT's Model around it, which is recognised by its tokens."""
    window = axis_length(weights, "Temporal_pos_embed", 1)
    options.require(window, "num_frame", "frames")
    pruning = pruning_from(options)
    if "pos_embed_token" in weights:
        keep = axis_length(weights, "pos_embed_token", 1)
        options.require(keep, "token_num")
        layer = options.whole_number("layer_index", 3)
        pruning = Pruning(keep=(keep,), layers=(layer,), by="tpc", recover="tra", positions=True)
    return AlternatingConfig(
        mixer=AttentionConfig(),
        window=window,
        heads=options.whole_number("num_heads", 8),
        pruning=pruning,
        skeleton=options.choice("dataset", DATASETS) or "h36m17",
        **_common_fields(weights, options),
    )


def poseretnet_config(weights: Weights, options: Options) -> AlternatingConfig:
    """RetMixSTE. It has no embeddings of time positions, so that a sequence may have any length."""
    heads = part_count(weights, "TTEblocks.0.attn.retentions.")
    options.require(heads, "num_heads")
    skeleton, distances = skeleton_and_distances(weights, options, heads)
    return AlternatingConfig(
        mixer=RetentionConfig(zoh_gain=False, distances=distances),
        heads=heads,
        lookahead=options.flag("uncausal", not options.flag("causal", False)),
        bias=False,
        skeleton=skeleton,
        **_common_fields(weights, options),
    )


def _retention(name: str, block: str, heads: int, joints: int) -> Iterator[ConvertedWeight]:
    """A pre-norm retention. Official matrices are (in, out) for each head; decays are for each head, or head and joint."""
    yield from weight_and_bias(f"{name}.project.norm", f"{block}.norm1")
    parts = [f"{block}.attn.retentions.{head}.W_{part}" for part in "QKV" for head in range(heads)]
    yield ConvertedWeight(f"{name}.project.own.weight", (*parts, f"{block}.attn.W_G"), lambda *w: _fused_projection(w, heads))
    yield ConvertedWeight(f"{name}.out.weight", (f"{block}.attn.W_O",), lambda w: w.mT)
    yield from weight_and_bias(f"{name}.readout", f"{block}.attn.group_norm")
    gammas = tuple(f"{block}.attn.retentions.{head}.gamma" for head in range(heads))
    # (J, H)
    yield ConvertedWeight(f"{name}.mixer.decay", gammas, lambda *gamma: torch.stack([g.expand(joints) for g in gamma], dim=1))


def xpos_scales(config: AlternatingConfig) -> set[str]:
    """The names of xPos's zeta, a table that the published code stores with the weights."""
    heads = ((layer, head) for layer in range(config.layers) for head in range(config.heads))
    return {f"TTEblocks.{layer}.attn.retentions.{head}.xpos.scale" for layer, head in heads}


def _fused_projection(weights: tuple[Tensor, ...], heads: int) -> Tensor:
    """Queries, keys, values and gate as one matrix (4 C, C).

    The channels of an xPos pair are half a head apart in our retention, and adjacent in the published code.
    """
    permuted = [torch.cat([w[:, 0::2], w[:, 1::2]], dim=1) for w in weights[: 2 * heads]]
    return torch.cat([*permuted, *weights[2 * heads :]], dim=1).mT


def alternating_weights(config: AlternatingConfig) -> Iterator[ConvertedWeight]:
    """Every weight of a MixSTE or a PoseRetNet; of HoT if the configuration prunes."""
    yield from weight_and_bias("embed", "Spatial_patch_to_embedding")
    yield ConvertedWeight("position", ("Spatial_pos_embed",), without_batch_axis)
    if config.window is not None:
        yield ConvertedWeight("position_time", ("Temporal_pos_embed",), lambda w: without_batch_axis(w)[:, None])
    for layer in range(config.layers):
        yield from self_attention(f"over_joints.{layer}.attention", f"STEblocks.{layer}")
        yield from feed_forward(f"over_joints.{layer}.feed", f"STEblocks.{layer}")
        if config.mixer_kind == "retention":
            yield from _retention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}", config.heads, config.joints)
        else:
            yield from self_attention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}")
        yield from feed_forward(f"over_time.{layer}.feed", f"TTEblocks.{layer}")
    yield from weight_and_bias("norm_joints", "Spatial_norm")
    yield from weight_and_bias("norm_time", "Temporal_norm")
    yield from weight_and_bias("head.0", "head.0")
    yield from weight_and_bias("head.1", "head.1")
    if config.pruning is not None and config.pruning.recover == "tra":
        yield ConvertedWeight("pruner.positions.0", ("pos_embed_token",), lambda w: without_batch_axis(w)[:, None])
        yield ConvertedWeight("pruner.query", ("x_token",), without_batch_axis)
        yield from weight_and_bias("pruner.to_query", "cross_attention.linear_q")
        for part in ("weight", "bias"):
            names = tuple(f"cross_attention.linear_{projection}.{part}" for projection in "kv")
            yield ConvertedWeight(f"pruner.to_key_value.{part}", names, lambda *w: torch.cat(w))
        yield from weight_and_bias("pruner.out", "cross_attention.proj")

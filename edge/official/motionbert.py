"""MotionBERT: DSTformer, lite and base."""

from __future__ import annotations

from collections.abc import Iterator

from ...runtime.errors import UsageError
from ..models.attention import AttentionConfig
from ..models.dual_stream import DualStreamConfig
from .conversion import ConvertedWeight, Weights, feed_forward, self_attention, weight_and_bias, without_batch_axis
from .options import Options
from .shapes import DATASETS, axis_length, mlp_ratio, norm_eps, part_count, pruning_from


def motionbert_config(weights: Weights, options: Options) -> DualStreamConfig:
    """DSTformer, lite or base, by the shapes of the weights."""
    if not options.flag("att_fuse", True):
        raise UsageError("the configuration says att_fuse false", expected="true, as in every published checkpoint")
    dim, layers, window = (
        axis_length(weights, "joints_embed.weight", 0),
        part_count(weights, "blocks_st."),
        axis_length(weights, "temp_embed", 1),
    )
    joints, channels = axis_length(weights, "pos_embed", 1), axis_length(weights, "joints_embed.weight", 1)
    representation = axis_length(weights, "pre_logits.fc.weight", 0)
    sizes = {"dim_feat": dim, "depth": layers, "maxlen": window, "num_joints": joints, "dim_in": channels}
    for key, length in {**sizes, "dim_rep": representation}.items():
        options.require(length, key)
    return DualStreamConfig(
        mixer=AttentionConfig(),
        dim=dim,
        heads=options.whole_number("num_heads", 8),
        layers=layers,
        mlp_ratio=mlp_ratio(weights, options, "blocks_st.0.mlp_s.fc1.weight", dim),
        window=window,
        channels=channels,
        joints=joints,
        skeleton=options.choice("dataset", DATASETS) or "h36m17",
        representation=representation,
        norm_eps=norm_eps(options),
        pruning=pruning_from(options),
        units="image",
    )


def motionbert_weights(config: DualStreamConfig) -> Iterator[ConvertedWeight]:
    """Every weight of a DSTformer."""
    yield from weight_and_bias("embed", "joints_embed")
    yield ConvertedWeight("position", ("pos_embed",), without_batch_axis)
    yield ConvertedWeight("position_time", ("temp_embed",), without_batch_axis)
    for layer in range(config.layers):
        for order, joints, time in (("st", "joints_first", "then_time"), ("ts", "then_joints", "time_first")):
            block = f"blocks_{order}.{layer}"
            yield from self_attention(f"layers.{layer}.{joints}.attention", block, "attn_s", "norm1_s")
            yield from feed_forward(f"layers.{layer}.{joints}.feed", block, "mlp_s", "norm2_s")
            yield from self_attention(f"layers.{layer}.{time}.mixing", block, "attn_t", "norm1_t")
            yield from feed_forward(f"layers.{layer}.{time}.feed", block, "mlp_t", "norm2_t")
        yield from weight_and_bias(f"layers.{layer}.weigh", f"ts_attn.{layer}")
    yield from weight_and_bias("norm", "norm")
    yield from weight_and_bias("represent", "pre_logits.fc")
    yield from weight_and_bias("head", "head")

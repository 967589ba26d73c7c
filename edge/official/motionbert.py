"""MotionBERT: DSTformer, lite and base."""

from __future__ import annotations

from collections.abc import Iterator

from ...runtime.errors import UsageError
from ..models.attention import AttentionConfig
from ..models.dual_stream import DualStreamConfig
from .options import Options
from .rename import Rename, Weights, attention, both, feed, first
from .shapes import DATASETS, count, norm_eps, pruning_of, ratio, size


def motionbert(weights: Weights, options: Options) -> DualStreamConfig:
    """DSTformer, lite or base: the weights tell them apart."""
    if not options.flag("att_fuse", True):
        raise UsageError("the configuration says att_fuse false", expected="true, as in every published checkpoint")
    dim, layers, window = size(weights, "joints_embed.weight", 0), count(weights, "blocks_st."), size(weights, "temp_embed", 1)
    joints, channels = size(weights, "pos_embed", 1), size(weights, "joints_embed.weight", 1)
    representation = size(weights, "pre_logits.fc.weight", 0)
    sizes = {"dim_feat": dim, "depth": layers, "maxlen": window, "num_joints": joints, "dim_in": channels}
    for key, found in {**sizes, "dim_rep": representation}.items():
        options.agree(found, key)
    return DualStreamConfig(
        mixer=AttentionConfig(),
        dim=dim,
        heads=options.whole("num_heads", 8),
        layers=layers,
        mlp_ratio=ratio(weights, options, "blocks_st.0.mlp_s.fc1.weight", dim),
        window=window,
        channels=channels,
        joints=joints,
        skeleton=options.word("dataset", DATASETS) or "h36m17",
        representation=representation,
        norm_eps=norm_eps(options),
        pruning=pruning_of(options),
        units="image",
    )


def motionbert_renames(config: DualStreamConfig) -> Iterator[Rename]:
    """DSTformer's weights."""
    yield from both("embed", "joints_embed")
    yield Rename("position", ("pos_embed",), first)
    yield Rename("position_time", ("temp_embed",), first)
    for layer in range(config.layers):
        for order, joints, time in (("st", "joints_first", "then_time"), ("ts", "then_joints", "time_first")):
            block = f"blocks_{order}.{layer}"
            yield from attention(f"layers.{layer}.{joints}.attention", block, "attn_s", "norm1_s")
            yield from feed(f"layers.{layer}.{joints}.feed", block, "mlp_s", "norm2_s")
            yield from attention(f"layers.{layer}.{time}.mixing", block, "attn_t", "norm1_t")
            yield from feed(f"layers.{layer}.{time}.feed", block, "mlp_t", "norm2_t")
        yield from both(f"layers.{layer}.weigh", f"ts_attn.{layer}")
    yield from both("norm", "norm")
    yield from both("represent", "pre_logits.fc")
    yield from both("head", "head")

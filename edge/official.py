"""Official checkpoints: the published names of weights, and what they are called here.

A family is a function from an official state dict and its configuration to ours, and a list of ``Rename``s. Everything in a
checkpoint must be known, and everything that is known must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..runtime.errors import ArtefactError, UsageError
from .models.alternating import AlternatingConfig
from .models.config import LifterConfig
from .models.dual_stream import DualStreamConfig
from .models.pruning import Pruning
from .models.retention import DISTANCES

Weights = Mapping[str, Tensor]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Rename:
    """One weight of ours, made of official ones."""

    ours: str
    official: tuple[str, ...]
    made: Callable[..., Tensor] = lambda weight: weight


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one published code are read.

    Args:
        configure: our configuration, from the official one and from the shapes of the weights.
        renames: every weight of the network.
        constants: endings of official names that hold no weight.
    """

    configure: Callable[[Weights, Config], LifterConfig]
    renames: Callable[[Any], Iterator[Rename]]
    constants: tuple[str, ...] = ()


def recognise(family: str, weights: Weights, config: Config) -> tuple[LifterConfig, list[Rename]]:
    """Our configuration of an official state dict, and what becomes of every weight in it.

    Raises:
        UsageError: no such family, or a configuration that contradicts the weights.
        ArtefactError: weights are missing or odd.
    """
    if family not in FAMILIES:
        raise UsageError(f"there is no family {family!r}", expected=f"one of {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    ours = known.configure(weights, config)
    renames = list(known.renames(ours))
    needed = [name for rename in renames for name in rename.official]
    missing = [name for name in needed if name not in weights]
    odd = sorted(name for name in set(weights) - set(needed) if not name.endswith(known.constants or ("\0",)))
    for what, names in (("lacks", missing), ("has odd keys", odd)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ArtefactError(
                f"the checkpoint {what}: {', '.join(names[:5])}{more}", expected=f"the {len(needed)} weights of a {family}"
            )
    return ours, renames


def shaped(rename: Rename, weights: Weights, shape: torch.Size) -> Tensor:
    """The weight that a rename makes; an ArtefactError where the official ones have shapes that do not make it."""
    try:
        made = rename.made(*(weights[name] for name in rename.official))
    except (RuntimeError, IndexError):
        made = None
    if made is None or made.shape != shape:
        name = rename.official[0]
        raise ArtefactError(
            f"the checkpoint's {name} has the shape {tuple(weights[name].shape)}",
            expected=f"one that makes {rename.ours} of {tuple(shape)}",
        )
    return made.clone()


# What the configuration and the shapes say.


def told(config: Config, found: int, *keys: str) -> int:
    """What the weights say, unless the configuration says something else."""
    for key in keys:
        if key in config and number(config, key, found) != found:
            raise UsageError(f"the configuration says {key} {config[key]}", expected=f"{found}, as the weights have it")
    return found


def number(config: Config, key: str, otherwise: float) -> float:
    """A number of the configuration."""
    try:
        return float(config.get(key, otherwise))
    except (TypeError, ValueError):
        raise UsageError(f"the configuration says {key} {config[key]!r}", expected="a number") from None


def size(weights: Weights, name: str, axis: int) -> int:
    """The length of a weight's axis."""
    if name not in weights:
        raise ArtefactError(f"the checkpoint lacks {name}", expected="a state dict of this family")
    if weights[name].ndim <= axis:
        raise ArtefactError(f"{name} has the shape {tuple(weights[name].shape)}", expected=f"more than {axis} axes")
    return weights[name].shape[axis]


def count(weights: Weights, prefix: str) -> int:
    """How many there are of a numbered part."""
    numbers = {name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)}
    if not numbers:
        raise ArtefactError(f"the checkpoint lacks {prefix}*", expected="a state dict of this family")
    return len(numbers)


def norm_eps(config: Config) -> float:
    """Of the blocks' layer norms; those of the head and of retention's groups are fixed in every published code."""
    for key in ("head_layernorm_eps", "groupnorm_eps"):
        if number(config, key, 1e-5) != 1e-5:
            raise UsageError(f"the configuration says {key} {config[key]}", expected="1e-05")
    return number(config, "layernorm_eps", 1e-6)


def ratio(weights: Weights, config: Config, name: str, dim: int) -> int:
    """The width of the feed-forward over C."""
    hidden = size(weights, name, 0)
    if hidden % dim:
        raise ArtefactError(f"{name} makes {hidden} of {dim} channels", expected="a multiple")
    found = hidden // dim
    if number(config, "mlp_ratio", found) != found:
        raise UsageError(f"the configuration says mlp_ratio {config['mlp_ratio']}", expected=f"{found}, as the weights have it")
    return found


# MixSTE and PoseRetNet: one topology, two mixers.


def alternating(weights: Weights, config: Config) -> dict[str, Any]:
    """What MixSTE and PoseRetNet have in common."""
    dim = told(config, size(weights, "Spatial_patch_to_embedding.weight", 0), "embed_dim", "channel")
    return {
        "dim": dim,
        "channels": size(weights, "Spatial_patch_to_embedding.weight", 1),
        "layers": told(config, count(weights, "STEblocks."), "depth", "layers"),
        "joints": told(config, size(weights, "Spatial_pos_embed", 1), "n_joints"),
        "mlp_ratio": ratio(weights, config, "STEblocks.0.mlp.fc1.weight", dim),
        "norm_eps": norm_eps(config),
    }


def mixste(weights: Weights, config: Config) -> AlternatingConfig:
    """MixSTE2, and HoT's Model around it, whose tokens tell it from MixSTE."""
    window = told(config, size(weights, "Temporal_pos_embed", 1), "num_frame", "frames")
    pruning = None
    if "pos_embed_token" in weights:
        keep = told(config, size(weights, "pos_embed_token", 1), "token_num")
        layer = int(number(config, "layer_index", 3))
        pruning = Pruning(keep=(keep,), layers=(layer,), by="tpc", recover="tra", positions=True)
    elif "r" in config:
        pruning = Pruning(keep=tuple(config["r"]), layers=tuple(config["b"]))
    heads = int(number(config, "num_heads", 8))
    return AlternatingConfig(mixer="attention", window=window, heads=heads, pruning=pruning, **alternating(weights, config))


DATASETS = {"h36m": "h36m17", "mpii3d_univ": "3dhp17"}


def poseretnet(weights: Weights, config: Config) -> AlternatingConfig:
    """RetMixSTE. Its frames have no numbers, so that any length goes."""
    skeleton = skeleton_of(weights, config)
    for layer in range(count(weights, "TTEblocks.")):
        for head in range(count(weights, "TTEblocks.0.attn.retentions.")):
            name = "TTEblocks.{}.attn.retentions.{}.gamma"
            here, first = weights.get(name.format(layer, head)), weights.get(name.format(0, head))
            if here is not None and first is not None and not torch.equal(here, first):
                raise ArtefactError(
                    f"{name.format(layer, head)} differs from layer 0's", expected="decays that were not trained"
                )
    return AlternatingConfig(
        mixer="retention",
        heads=told(config, count(weights, "TTEblocks.0.attn.retentions."), "num_heads"),
        lookahead=not config.get("causal", False),
        held=False,
        bias=False,
        distances=skeleton if config.get("joint_related", True) else "uniform",
        skeleton=skeleton,
        **alternating(weights, config),
    )


def skeleton_of(weights: Weights, config: Config) -> str:
    """The joints that a PoseRetNet was made for: its decays tell, where joints differ in them, and else the configuration."""
    said = config.get("dataset")
    if said is not None and said not in DATASETS:
        raise UsageError(f"the configuration says dataset {said!r}", expected=f"one of {', '.join(DATASETS)}")
    gamma = weights.get("TTEblocks.0.attn.retentions.0.gamma", torch.zeros(()))
    for dataset, skeleton in DATASETS.items():
        expected = 1 - 1 / (number(config, "gamma_divider", 8) * torch.tensor(DISTANCES[skeleton]))
        if gamma.shape == expected.shape and torch.allclose(gamma.float(), expected, atol=1e-6):
            if said not in (None, dataset):
                raise UsageError(f"the configuration says dataset {said}", expected=f"{dataset}, as the decays have it")
            return skeleton
    return DATASETS[said or "h36m"]


def both(ours: str, official: str) -> Iterator[Rename]:
    """Weight and bias."""
    for part in ("weight", "bias"):
        yield Rename(f"{ours}.{part}", (f"{official}.{part}",))


def attention(ours: str, block: str, attn: str = "attn", norm: str = "norm1") -> Iterator[Rename]:
    """A pre-norm self-attention."""
    yield from both(f"{ours}.project.norm", f"{block}.{norm}")
    yield from both(f"{ours}.project.own", f"{block}.{attn}.qkv")
    yield from both(f"{ours}.out", f"{block}.{attn}.proj")


def feed(ours: str, block: str, mlp: str = "mlp", norm: str = "norm2") -> Iterator[Rename]:
    """A pre-norm feed-forward."""
    yield from both(f"{ours}.norm", f"{block}.{norm}")
    yield from both(f"{ours}.up", f"{block}.{mlp}.fc1")
    yield from both(f"{ours}.down", f"{block}.{mlp}.fc2")


def retention(ours: str, block: str, heads: int, joints: int) -> Iterator[Rename]:
    """A pre-norm retention, whose official matrices are (in, out), one for each head; so are decays, for all joints or each."""
    yield from both(f"{ours}.project.norm", f"{block}.norm1")
    parts = [f"{block}.attn.retentions.{head}.W_{part}" for part in "QKV" for head in range(heads)]
    yield Rename(f"{ours}.project.own.weight", (*parts, f"{block}.attn.W_G"), lambda *w: fused(w, heads))
    yield Rename(f"{ours}.out.weight", (f"{block}.attn.W_O",), lambda w: w.mT)
    yield from both(f"{ours}.readout", f"{block}.attn.group_norm")
    gammas = tuple(f"{block}.attn.retentions.{head}.gamma" for head in range(heads))
    yield Rename(f"{ours}.mixer.decay", gammas, lambda *gamma: torch.stack([g.expand(joints) for g in gamma], dim=1))  # (J, H)


def fused(weights: tuple[Tensor, ...], heads: int) -> Tensor:
    """Queries, keys, values and gate as one matrix (4 C, C). xPos pairs lie half a head apart here, side by side there."""
    turned = [torch.cat([w[:, 0::2], w[:, 1::2]], dim=1) for w in weights[: 2 * heads]]
    return torch.cat([*turned, *weights[2 * heads :]], dim=1).mT


def alternating_renames(config: AlternatingConfig) -> Iterator[Rename]:
    """MixSTE's weights, or PoseRetNet's; HoT's if it prunes."""
    yield from both("embed", "Spatial_patch_to_embedding")
    yield Rename("position", ("Spatial_pos_embed",), lambda w: w[0])
    if config.window is not None:
        yield Rename("position_time", ("Temporal_pos_embed",), lambda w: w[0][:, None])
    for layer in range(config.layers):
        yield from attention(f"over_joints.{layer}.attention", f"STEblocks.{layer}")
        yield from feed(f"over_joints.{layer}.feed", f"STEblocks.{layer}")
        if config.mixer == "retention":
            yield from retention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}", config.heads, config.joints)
        else:
            yield from attention(f"over_time.{layer}.mixing", f"TTEblocks.{layer}")
        yield from feed(f"over_time.{layer}.feed", f"TTEblocks.{layer}")
    yield from both("norm_joints", "Spatial_norm")
    yield from both("norm_time", "Temporal_norm")
    yield from both("head.0", "head.0")
    yield from both("head.1", "head.1")
    if config.pruning is not None and config.pruning.recover == "tra":
        yield Rename("pruner.positions.0", ("pos_embed_token",), lambda w: w[0][:, None])
        yield Rename("pruner.query", ("x_token",), lambda w: w[0])
        yield from both("pruner.to_query", "cross_attention.linear_q")
        for part in ("weight", "bias"):
            names = tuple(f"cross_attention.linear_{one}.{part}" for one in "kv")
            yield Rename(f"pruner.to_key_value.{part}", names, lambda *w: torch.cat(w))
        yield from both("pruner.out", "cross_attention.proj")


# MotionBERT.


def motionbert(weights: Weights, config: Config) -> DualStreamConfig:
    """DSTformer, lite or base: the weights tell them apart."""
    if not config.get("att_fuse", True):
        raise UsageError("the configuration says att_fuse false", expected="true, as in every published checkpoint")
    dim = told(config, size(weights, "joints_embed.weight", 0), "dim_feat")
    pruning = Pruning(keep=tuple(config["r"]), layers=tuple(config["b"])) if "r" in config else None
    return DualStreamConfig(
        mixer="attention",
        dim=dim,
        heads=int(number(config, "num_heads", 8)),
        layers=told(config, count(weights, "blocks_st."), "depth"),
        mlp_ratio=ratio(weights, config, "blocks_st.0.mlp_s.fc1.weight", dim),
        window=told(config, size(weights, "temp_embed", 1), "maxlen"),
        channels=told(config, size(weights, "joints_embed.weight", 1), "dim_in"),
        joints=told(config, size(weights, "pos_embed", 1), "num_joints"),
        representation=told(config, size(weights, "pre_logits.fc.weight", 0), "dim_rep"),
        norm_eps=norm_eps(config),
        pruning=pruning,
        units="image",
    )


def motionbert_renames(config: DualStreamConfig) -> Iterator[Rename]:
    """DSTformer's weights."""
    yield from both("embed", "joints_embed")
    yield Rename("position", ("pos_embed",), lambda w: w[0])
    yield Rename("position_time", ("temp_embed",), lambda w: w[0])
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


FAMILIES = {
    "poseretnet": Family(poseretnet, alternating_renames, constants=(".xpos.scale",)),
    "mixste": Family(mixste, alternating_renames),
    "motionbert": Family(motionbert, motionbert_renames),
}

"""Every topology with every mixer: one network in three forms, whatever its parts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSM, DSSMConfig, ReverseDSSM
from posemoe_edge.edge.models.dual_stream import DualStream, DualStreamConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import Mixer, MixerConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.pruning import Pruning
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.topology import TOPOLOGIES, build, config_from, mixer_config_from
from posemoe_edge.edge.presets import PRESETS
from posemoe_edge.runtime.artefact.locate import ZOO
from posemoe_edge.runtime.errors import UsageError
from torch import Tensor
from torch.nn import functional as F

WINDOW, FPS = 9, 50.0
ROWS, FRAMES = 2, 9

SAME = 1e-10  # float64: the forms sum the same numbers in another order
EXACT = 1e-12  # float64: one formula written twice, or the same operations
HALF = 1e-2  # mean error of the mean size: ten bits of mantissa, through some ten layers

MIXING = [name for name in TOPOLOGIES if name != "frame"]  # topologies that mix over time

SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "layers": 2}
SMALL_DSSM = DSSMConfig(state_size=4)
GATED: dict[str, Any] = {"mixer": SMALL_DSSM, "block": "gated", "expansion": 2, "reduction": 2}

STREAMING: dict[str, LifterConfig] = {
    "alternating retention held": AlternatingConfig(mixer=RetentionConfig(), **SIZES),
    "alternating retention published": AlternatingConfig(mixer=RetentionConfig(zoh_gain=False), bias=False, **SIZES),
    "alternating retention 3dhp": AlternatingConfig(mixer=RetentionConfig(distances="3dhp17"), skeleton="3dhp17", **SIZES),
    "alternating dssm": AlternatingConfig(mixer=SMALL_DSSM, **SIZES),
    "alternating gated": AlternatingConfig(**GATED, **SIZES),
    "dual_stream retention": DualStreamConfig(mixer=RetentionConfig(), **SIZES),
    "dual_stream gated": DualStreamConfig(
        **(GATED | {"mixer": DSSMConfig(state_size=4, shared_modes=True, modes="inv")}), positions=False, **SIZES
    ),
}
LOOKAHEAD: dict[str, LifterConfig] = {
    f"{name} lookahead": dataclasses.replace(config, lookahead=True)
    for name, config in STREAMING.items()
    if config.mixer_kind == "retention"
}
WINDOWED: dict[str, LifterConfig] = {
    "alternating attention": AlternatingConfig(mixer=AttentionConfig(), window=WINDOW, **SIZES),
    "dual_stream attention": DualStreamConfig(mixer=AttentionConfig(), window=WINDOW, **SIZES),
    "alternating gated both": AlternatingConfig(**GATED, window=WINDOW, lookahead=True, **SIZES),
    "dual_stream gated both": DualStreamConfig(**GATED, window=WINDOW, lookahead=True, positions=False, bias=False, **SIZES),
}
ALL = STREAMING | LOOKAHEAD | WINDOWED

streaming = pytest.mark.parametrize("name", list(STREAMING))
lookahead = pytest.mark.parametrize("name", list(LOOKAHEAD))
windowed = pytest.mark.parametrize("name", list(WINDOWED))
every = pytest.mark.parametrize("name", list(ALL))


def make(name: str, **changed: Any) -> Lifter:
    """In float64, no weight at its initial value, so that zeros hide no error. Decays stay between 0 and 1."""
    torch.manual_seed(0)
    model = build(dataclasses.replace(ALL[name], **changed)).double().eval().requires_grad_(False)
    for weight_name, weight in model.named_parameters():
        if not weight_name.endswith("mixer.decay"):
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@dataclasses.dataclass(frozen=True)
class CallInputs:
    """The inputs of a call: keypoints, seconds since the frame before, resets."""

    x: Tensor
    dt: Tensor | None = None
    reset: Tensor | None = None

    def during(self, span: slice | int) -> CallInputs:
        return CallInputs(*(None if part is None else part[:, span] for part in (self.x, self.dt, self.reset)))  # type: ignore[arg-type]

    def row(self, row: int) -> CallInputs:
        return CallInputs(*(None if part is None else part[row : row + 1] for part in (self.x, self.dt, self.reset)))  # type: ignore[arg-type]


def call(time: str = "uniform", resets: str = "none", frames: int = FRAMES) -> CallInputs:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(-1, 1, (ROWS, frames, 17, 3)))
    varying = torch.from_numpy(rng.uniform(0.001, 0.5, (ROWS, frames)))
    reset = torch.zeros(ROWS, frames, dtype=torch.bool)
    reset[0, :1] = reset[1, 4:6] = True
    return CallInputs(x, varying if time == "varying" else None, reset if resets == "some" else None)


def forward(model: Lifter, inputs: CallInputs, size: int | None = None) -> Tensor:
    y: Tensor = model(inputs.x, inputs.dt, inputs.reset, chunk_size=size)
    return y


def in_chunks(
    model: Lifter, inputs: CallInputs, state: Tensor | None = None, cuts: Iterable[int] = (), size: int | None = None
) -> tuple[Tensor, Tensor]:
    poses, state = [], model.initial_state(ROWS) if state is None else state
    for start, end in pairwise((0, *cuts, inputs.x.shape[1])):
        part = inputs.during(slice(start, end))
        pose, state = model.chunk(part.x, state, part.dt, part.reset, chunk_size=size)
        poses.append(pose)
    return torch.cat(poses, dim=1), state


def in_steps(model: Lifter, inputs: CallInputs, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    poses, state = [], model.initial_state(len(inputs.x)) if state is None else state
    for n in range(inputs.x.shape[1]):
        frame = inputs.during(n)
        pose, state = model.step(frame.x, state, frame.dt, frame.reset)
        poses.append(pose)
    return torch.stack(poses, dim=1), state


def assert_close(got: Tensor, expected: Tensor, tolerance: float = SAME) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    apart = (got - expected).abs().max() / expected.abs().max()
    assert apart <= tolerance, f"apart by {apart:.2e} of the largest value"


def changed_frames(model: Lifter, frame: int, size: int | None = None) -> Tensor:
    """(T,) the change of each pose when the keypoints of one frame change."""
    inputs = call()
    later = inputs.x.clone()
    later[:, frame] += 1
    return (forward(model, CallInputs(later), size) - forward(model, inputs, size)).abs().amax(dim=(0, 2, 3))


# Three forms, one network.


@streaming
@pytest.mark.parametrize("time", ["uniform", "varying"])
@pytest.mark.parametrize("resets", ["none", "some"])
def test_forward_equals_chunks_and_steps(name: str, time: str, resets: str) -> None:
    model, inputs = make(name), call(time, resets)
    expected = forward(model, inputs)
    poses, after = in_steps(model, inputs)
    assert_close(poses, expected)
    for cuts in [(), (1,), (3, 4, 7)]:
        poses, state = in_chunks(model, inputs, cuts=cuts)
        assert_close(poses, expected)
        assert_close(state, after)


@streaming
def test_chunks_equal_steps_from_any_state(name: str) -> None:
    model, inputs = make(name), call("varying", "some")
    state = torch.randn_like(model.initial_state(ROWS))
    expected, after = in_steps(model, inputs, state)
    poses, end = in_chunks(model, inputs, state, cuts=(2, 6))
    assert_close(poses, expected)
    assert_close(end, after)


@lookahead
@pytest.mark.parametrize("time", ["uniform", "varying"])
@pytest.mark.parametrize("resets", ["none", "some"])
@pytest.mark.parametrize("size", [2, 4, FRAMES])
def test_a_staircase_equals_its_chunks(name: str, time: str, resets: str, size: int) -> None:
    model, inputs = make(name), call(time, resets)
    expected = forward(model, inputs, size)
    cut_up, after = in_chunks(model, inputs, cuts=range(size, FRAMES, size))
    at_once, end = in_chunks(model, inputs, size=size)
    assert_close(cut_up, expected)
    assert_close(at_once, expected)
    assert_close(end, after)


@lookahead
def test_a_staircase_of_single_frames_equals_steps(name: str) -> None:
    model, inputs = make(name), call("varying", "some")
    poses, _ = in_steps(model, inputs)
    assert_close(poses, forward(model, inputs, 1))
    causal = make(name, lookahead=False)
    assert_close(poses, forward(causal, inputs))


@lookahead
def test_a_chunk_is_as_long_as_the_call_by_default(name: str) -> None:
    model, inputs = make(name), call()
    assert_close(forward(model, inputs), forward(model, inputs, FRAMES), EXACT)
    assert (forward(model, inputs) - forward(model, inputs, 3)).abs().max() > 1e-6


@streaming
def test_a_causal_lifter_is_the_same_whatever_the_chunk_size(name: str) -> None:
    model, inputs = make(name), call()
    assert_close(forward(model, inputs, 4), forward(model, inputs), EXACT)


@every
def test_no_time_is_the_nominal_time_and_no_reset_is_none(name: str) -> None:
    model, inputs = make(name), call()
    nominal = CallInputs(
        inputs.x, torch.full((ROWS, FRAMES), 1 / FPS, dtype=torch.float64), torch.zeros(ROWS, FRAMES, dtype=torch.bool)
    )
    assert_close(forward(model, nominal), forward(model, inputs))


# Which poses a frame affects.


@streaming
def test_a_pose_depends_on_the_past_and_not_on_the_future(name: str) -> None:
    moved = changed_frames(make(name), 5)
    assert (moved[:5] < EXACT).all() and (moved[5:] > 1e-6).all()


@lookahead
def test_a_pose_depends_on_its_chunk_and_on_the_past(name: str) -> None:
    moved = changed_frames(make(name), 5, size=4)
    assert (moved[:4] < EXACT).all() and (moved[4:] > 1e-6).all()


@windowed
def test_a_pose_of_a_window_depends_on_all_of_it(name: str) -> None:
    assert (changed_frames(make(name), 5) > 1e-6).all()


@every
def test_rows_do_not_touch_each_other(name: str) -> None:
    model, inputs = make(name), call("varying", "some")
    both = forward(model, inputs)
    for row in range(ROWS):
        assert_close(forward(model, inputs.row(row)), both[row : row + 1], SAME)
    spoilt = inputs.x.clone()
    spoilt[1] = torch.nan
    assert_close(forward(model, CallInputs(spoilt, inputs.dt, inputs.reset))[:1], both[:1], EXACT)


@streaming
def test_rows_of_a_state_do_not_touch_each_other(name: str) -> None:
    model, inputs = make(name), call("varying", "some")
    state = torch.randn_like(model.initial_state(ROWS))
    expected, after = in_steps(model, inputs, state)
    for row in range(ROWS):
        poses, end = in_steps(model, inputs.row(row), state[row : row + 1])
        assert_close(poses, expected[row : row + 1], SAME)
        assert_close(end, after[row : row + 1], SAME)


@streaming
def test_a_reset_clears_a_lifter_state_that_is_not_finite(name: str) -> None:
    model, inputs = make(name), call("varying")
    reset = torch.zeros(ROWS, FRAMES, dtype=torch.bool)
    reset[:, 0] = True
    inputs, state = CallInputs(inputs.x, inputs.dt, reset), model.initial_state(ROWS)
    expected, after = in_steps(model, inputs, state)
    for poses, end in (in_steps(model, inputs, state * torch.nan), in_chunks(model, inputs, state + torch.inf)):
        assert_close(poses, expected)
        assert_close(end, after)


# States.


@every
def test_there_is_one_state_for_each_block_over_time(name: str) -> None:
    model = make(name)
    if name in WINDOWED:
        assert model.state_shape is None
        return
    assert model.state_shape is not None
    blocks = model.config.layers * (2 if isinstance(model, DualStream) else 1)
    mixer = next(module for module in model.modules() if isinstance(module, type(model.config.build_mixer())))
    if model.config.mixer_kind == "retention":
        assert model.state_shape == (blocks, 8, 8, 17, 2)
    else:
        assert model.state_shape == (blocks, *(mixer.state_shape or ()))
    state = model.initial_state(5)
    assert state.shape == (5, *model.state_shape) and not state.any()


@streaming
def test_a_stream_begins_with_an_empty_state(name: str) -> None:
    model, inputs = make(name), call()
    assert_close(model.step(inputs.x[:, 0])[0], in_steps(model, inputs)[0][:, 0], EXACT)
    assert_close(model.chunk(inputs.x)[0], in_chunks(model, inputs)[0], EXACT)


@windowed
def test_a_window_lifter_has_no_state(name: str) -> None:
    model, x = make(name), call(frames=1).x
    for refused in (
        lambda: model.initial_state(1),
        lambda: model.step(x[:, 0]),
        lambda: model.chunk(x),
    ):
        with pytest.raises(UsageError, match="has no state"):
            refused()


@windowed
def test_a_window_may_be_short_and_not_longer_than_the_model(name: str) -> None:
    model = make(name)
    for frames in (1, 5, WINDOW):
        assert forward(model, call(frames=frames)).shape == (ROWS, frames, 17, 3)
    with pytest.raises(UsageError, match=f"{WINDOW + 1} frames at once"):
        forward(model, call(frames=WINDOW + 1))


# Half precision.


@streaming
def test_half_precision_steps_with_a_wide_state(name: str) -> None:
    model, inputs = make(name).float(), call("varying", "some")
    inputs = CallInputs(inputs.x.float(), inputs.dt.float() if inputs.dt is not None else None, inputs.reset)
    expected, _ = in_steps(model, inputs)
    model.half()
    for module in model.modules():
        if isinstance(module, Mixer):
            module.float()
    poses, after = in_steps(model, inputs)
    assert after.dtype == poses.dtype == torch.float32 and poses.isfinite().all() and after.isfinite().all()
    assert 0 < (poses - expected).abs().mean() < HALF * expected.abs().mean()


# Both directions.


def test_a_reset_parts_a_window_as_two_windows_are_parted() -> None:
    model, inputs = make("dual_stream gated both"), call("varying")
    assert inputs.dt is not None
    dt, reset = inputs.dt.clone(), torch.zeros(ROWS, FRAMES, dtype=torch.bool)
    dt[:, 4], reset[:, 4] = 1 / FPS, True  # at a reset the time before the frame does not count
    parts = [forward(model, CallInputs(inputs.x, dt).during(span)) for span in (slice(0, 4), slice(4, FRAMES))]
    assert_close(forward(model, CallInputs(inputs.x, inputs.dt, reset)), torch.cat(parts, dim=1))


@windowed
def test_attention_does_not_know_time_and_both_directions_do(name: str) -> None:
    model, inputs = make(name), call("varying", "some")
    moved = (forward(model, inputs) - forward(model, CallInputs(inputs.x))).abs().max()
    assert moved == 0 if model.config.mixer_kind == "attention" else moved > 1e-6


@windowed
def test_blocks_over_time_have_both_directions_of_a_window(name: str) -> None:
    backwards = [module for module in make(name).modules() if isinstance(module, ReverseDSSM)]
    blocks = sum(isinstance(module, DSSM) for module in make(name).modules())
    assert (len(backwards) == blocks / 2 > 0) if "gated" in name else not backwards


# Topologies, by hand.


def block(model: Lifter, path: str, *features: Any) -> Tensor:
    output: Tensor = model.get_submodule(path)(*features)
    return output


class OneCall:
    """The execution mode of a plain forward, for calls of single blocks."""

    def __init__(self, model: Lifter, frames: int) -> None:
        self.timing = model._timing(torch.zeros(1, frames, 17, 3), None, None, None)

    def mix(self, mixer: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed: Tensor = mixer(q, k, v, self.timing)
        return mixed


def test_alternating_is_its_blocks_by_turns() -> None:
    for name in ("alternating attention", "alternating retention published", "alternating gated"):
        model, inputs = make(name), call()
        mode = OneCall(model, FRAMES)
        x = F.linear(inputs.x, model.embed.weight, model.embed.bias) + model.get_parameter("position")
        for layer in range(model.config.layers):
            x = block(model, "norm_joints", block(model, f"over_joints.{layer}", x))
            if layer == 0 and model.config.window is not None:
                x = x + model.get_parameter("position_time")[:FRAMES]
            x = block(model, "norm_time", block(model, f"over_time.{layer}", x, mode))
        assert_close(forward(model, inputs), block(model, "head", x), EXACT)


def test_dual_stream_weighs_both_orders() -> None:
    for name in ("dual_stream attention", "dual_stream retention", "dual_stream gated", "dual_stream gated both"):
        model, inputs = make(name), call()
        assert isinstance(model, DualStream)
        mode = OneCall(model, FRAMES)
        x = F.linear(inputs.x, model.embed.weight, model.embed.bias)
        if name != "dual_stream gated" and name != "dual_stream gated both":
            x = x + model.get_parameter("position")
        if name == "dual_stream attention":
            x = x + model.get_parameter("position_time")[:FRAMES]
        for layer in range(model.config.layers):
            path = f"layers.{layer}"
            st = block(model, f"{path}.then_time", block(model, f"{path}.joints_first", x), mode)
            ts = block(model, f"{path}.then_joints", block(model, f"{path}.time_first", x, mode))
            logits = block(model, f"{path}.weigh", torch.cat([st, ts], -1)).exp()
            x = (st * logits[..., :1] + ts * logits[..., 1:]) / logits.sum(-1, keepdim=True)
        x = torch.tanh(block(model, "represent", block(model, "norm", x)))
        assert_close(forward(model, inputs), block(model, "head", x), EXACT)


def test_a_dual_stream_starts_with_equal_shares() -> None:
    torch.manual_seed(0)
    model, inputs = build(WINDOWED["dual_stream attention"]).double().eval(), call()
    assert isinstance(model, DualStream)
    swapped = build(model.config).double().eval()
    swapped.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer in swapped.get_submodule("layers").children():
            layer.get_parameter("weigh.bias").copy_(torch.tensor([1.5, 1.5]))
        assert_close(forward(model, inputs), forward(swapped, inputs), EXACT)
        assert (model.get_parameter("layers.0.weigh.bias") == 0.5).all()


# Configurations.


@pytest.mark.parametrize(
    ("topology", "mixer", "ahead", "expected"),
    [
        (topology, mixer, ahead, expected)
        for topology in MIXING
        for mixer, ahead, expected in (
            ("attention", False, True),
            ("attention", True, True),
            ("retention", False, False),
            ("retention", True, False),
            ("dssm", False, False),
            ("dssm", True, True),
        )
        if (topology, mixer, ahead) != ("moe", "dssm", True)  # a PoseMoE has no blocks in both directions
    ],
)
def test_attention_and_dssm_in_both_directions_are_windowed(topology: str, mixer: str, ahead: bool, expected: bool) -> None:
    fields: dict[str, Any] = {
        "dim": 16,
        "heads": 2,
        "layers": 1,
        "mixer": mixer_config_from({"kind": mixer}),
        "lookahead": ahead,
    }
    if mixer == "dssm" and ahead:
        fields["block"] = "gated"
    right, wrong = (WINDOW, None) if expected else (None, WINDOW)
    config = TOPOLOGIES[topology][0](topology=topology, window=right, **fields)  # type: ignore[arg-type]
    assert config.windowed is expected
    with pytest.raises(UsageError, match="a window for attention"):
        TOPOLOGIES[topology][0](topology=topology, window=wrong, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("topology", MIXING)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mixer": "lstm"}, "mixer 'lstm'; expected the configuration of a mixer"),
        ({"dim": 0}, "more than 0"),
        ({"layers": 0}, "more than 0"),
        ({"heads": -2}, "more than 0"),
        ({"mlp_ratio": 0}, "more than 0"),
        ({"fps": 0.0}, "more than 0"),
        ({"norm_eps": 0.0}, "more than 0"),
        ({"dim": 16.0}, "dim 16.0; expected a whole number"),
        ({"fps": float("nan")}, "more than 0"),
        ({"channels": 5}, "2 .x, y. or 3"),
        ({"skeleton": "coco17"}, "no skeleton 'coco17'; expected one of h36m17, 3dhp17"),
        ({"heads": 3}, "heads that divide the channels"),
        ({"joints": 16}, "retention over 16 joints; expected 17 joints"),
        ({"pruning": Pruning(keep=(3,), layers=(0,))}, "pruning of retention"),
    ],
)
def test_an_invalid_lifter_is_refused(topology: str, changed: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"mixer": RetentionConfig(), "dim": 16, "heads": 2, "layers": 1}
    with pytest.raises(UsageError, match=message):
        TOPOLOGIES[topology][0](**(fields | changed))


@pytest.mark.parametrize("config", [AlternatingConfig, DualStreamConfig])
def test_a_block_of_another_kind_is_refused(config: Any) -> None:
    with pytest.raises(UsageError, match="convolution"):
        config(mixer=RetentionConfig(), dim=16, heads=2, layers=1, block="convolution")


@pytest.mark.parametrize(("mixer", "window"), [(AttentionConfig(), 9), (RetentionConfig(), None)])
def test_gated_blocks_are_built_from_dssm(mixer: MixerConfig, window: int | None) -> None:
    with pytest.raises(UsageError, match="gated"):
        AlternatingConfig(mixer=mixer, block="gated", dim=16, heads=2, layers=1, window=window)


@pytest.mark.parametrize("topology", ["alternating", "dual_stream"])
def test_transformer_blocks_of_dssm_have_no_second_direction(topology: str) -> None:
    with pytest.raises(UsageError, match="directions"):
        TOPOLOGIES[topology][0](mixer=DSSMConfig(), lookahead=True, window=9, dim=16, heads=2, layers=1)  # type: ignore[call-arg]


def test_a_posemoe_of_dssm_has_no_second_direction() -> None:
    with pytest.raises(UsageError, match="directions"):
        PoseMoEConfig(mixer=DSSMConfig(), lookahead=True, window=9, dim=16, heads=2, layers=1)


def test_uniform_distances_go_with_any_number_of_joints() -> None:
    mixer = RetentionConfig(distances="uniform")
    model = build(AlternatingConfig(mixer=mixer, dim=16, heads=2, layers=1, joints=5))
    assert mixer.distance_of_joint(5) == (1.0,) * 5
    assert model(torch.zeros(1, 2, 5, 3)).shape == (1, 2, 5, 3)


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (RetentionConfig, {"distances": "coco"}, "no distances 'coco'; expected uniform, h36m17, 3dhp17"),
        (RetentionConfig, {"kind": "dssm"}, "no kind 'dssm'; expected one of retention"),
        (DSSMConfig, {"state_size": 0}, "a dssm of state_size 0; expected more than 0"),
        (DSSMConfig, {"state_size": 4.0}, "a dssm of state_size 4.0; expected a whole number"),
        (DSSMConfig, {"state_size": 5}, "a dssm state of 5 numbers; expected an even number"),
        (DSSMConfig, {"modes": "hippo"}, "no modes 'hippo'; expected one of lin, inv"),
        (AttentionConfig, {"kind": "retention"}, "no kind 'retention'; expected one of attention"),
    ],
)
def test_an_invalid_mixer_is_refused(config: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config(**fields)


# Records.


PRUNED = {
    "tps": PoseMoEConfig(mixer=AttentionConfig(), window=9, pruning=Pruning(keep=(5, 3), layers=(0, 1)), **SIZES),
    "tra": AlternatingConfig(
        mixer=AttentionConfig(),
        window=9,
        pruning=Pruning(keep=(3,), layers=(1,), by="tpc", recover="tra", positions=True),
        **SIZES,
    ),
    "without": PoseMoEConfig(mixer=RetentionConfig(), without=("tokens", "router"), **SIZES),
}
RECORDED = ALL | PRUNED | {f"preset {name}": preset.config for name, preset in PRESETS.items()}


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_configuration_is_read_from_its_record(name: str) -> None:
    config = RECORDED[name]
    record = dataclasses.asdict(config)
    assert config_from(record) == config  # with tuples
    assert config_from(json.loads(json.dumps(record))) == config  # with lists
    assert type(config_from(record)) is type(config)


def test_a_record_without_a_topology_is_a_posemoes() -> None:
    record = dataclasses.asdict(PRUNED["without"])
    del record["topology"]
    assert config_from(record) == PRUNED["without"]


def test_a_record_of_an_unknown_topology_is_refused() -> None:
    with pytest.raises(UsageError, match="'ring'"):
        config_from({"topology": "ring"})


FLAT = {
    "topology": "alternating", "dim": 16, "heads": 2, "layers": 2,
    "held": False, "distances": "3dhp17", "state_size": 8, "modes": "inv", "shared_modes": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mixer"),
    [
        ("retention", RetentionConfig(zoh_gain=False, distances="3dhp17")),
        ("dssm", DSSMConfig(state_size=8, modes="inv", shared_modes=True)),
        ("attention", AttentionConfig()),
    ],
)
def test_a_flat_record_is_read(kind: str, mixer: MixerConfig) -> None:
    window = WINDOW if kind == "attention" else None
    expected = AlternatingConfig(mixer=mixer, dim=16, heads=2, layers=2, window=window)
    assert config_from(FLAT | {"mixer": kind, "window": window}) == expected


def test_a_flat_record_without_a_mixer_is_read() -> None:
    record = {"topology": "frame", "mixer": "none", "dim": 16, "layers": 1, "held": True, "state_size": 16}
    assert config_from(record) == FrameConfig(dim=16, layers=1)


@pytest.mark.parametrize("path", sorted(ZOO.glob("*/reference.json")), ids=lambda path: path.parent.name)
def test_the_shipped_weights_name_their_preset_and_load_in_their_own_configuration(path: Path) -> None:
    """A preset may have changed since its weights were trained: the weights keep the configuration that they were made with."""
    model, record = load_checkpoint(path.with_suffix(".safetensors"))
    preset = PRESETS[record["preset"]]
    assert path.parent.name == preset.name and model.config == config_from(record["config"])
    assert (model.config.topology, model.config.mixer_kind) == (preset.config.topology, preset.config.mixer_kind)


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        ("retantion", "no mixer 'retantion'; did you mean retention"),
        ({"kind": "lstm"}, "no mixer 'lstm'"),
        ({"kind": "retention", "state_size": 4}, "a configuration with state_size; expected fields of retention"),
    ],
)
def test_a_record_of_an_unknown_mixer_is_refused(mixer: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config_from({"topology": "alternating", "mixer": mixer, "dim": 16, "heads": 2, "layers": 1})


def test_a_nested_record_takes_no_flat_fields() -> None:
    with pytest.raises(UsageError, match="a configuration with held"):
        config_from({"topology": "alternating", "mixer": {"kind": "retention"}, "held": True})

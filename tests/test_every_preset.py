"""Every preset at small width through the whole pipeline: PyTorch, ONNX, runtime, certificate, TensorRT's parser."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.calib.measure.budget import DEFAULT_BUDGET, frame_limits
from posemoe_edge.edge.checkpoints import load_reference
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.stem import PoseStem
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.presets import PRESETS
from posemoe_edge.export import verify as verify_module
from posemoe_edge.export.artefact import export
from posemoe_edge.export.verify import verify
from posemoe_edge.runtime import load
from posemoe_edge.runtime.engines.tensorrt.library import import_tensorrt
from posemoe_edge.runtime.engines.tensorrt.network_layers import read_layers
from posemoe_edge.runtime.pose.skeleton import H36M_ORDERS

WINDOW, CHUNK, FRAMES = 7, 3, 11
SAME_M = 1e-5  # metres: float32, in an order of the engine's own


def shrunk(config: LifterConfig) -> LifterConfig:
    """The same network with every size made small."""
    fields: dict[str, Any] = {"dim": 8, "heads": 2, "layers": 1, "mlp_ratio": 1}
    if isinstance(config.mixer, DSSMConfig):
        fields["mixer"] = replace(config.mixer, state_size=4)
    if config.window is not None and config.window > 1:
        fields["window"] = WINDOW
    if config.pruning is not None:
        stages = min(len(config.pruning.keep), 2)
        fields["layers"] = stages if config.pruning.layers[0] == 0 else stages + 1
        layers = range(fields["layers"] - stages, fields["layers"])
        fields["pruning"] = replace(config.pruning, keep=(5, 3)[-stages:], layers=tuple(layers))
    if config.topology == "dual_stream":
        fields["representation"] = 8
    if isinstance(config, PoseMoEConfig) and config.stem is not None:
        fields |= {"stem": 16, "dim": 12}
    if isinstance(config, FrameConfig):
        fields |= {"mix_dim": 12, "time_layers": 1}
    return replace(config, **fields)


def distinct_configs() -> dict[str, LifterConfig]:
    """One preset of each shrunk configuration; several presets may share one."""
    kinds: dict[LifterConfig, str] = {}
    for name, preset in PRESETS.items():
        kinds.setdefault(shrunk(preset.config), name)
    return {name: config for config, name in kinds.items()}


KINDS = distinct_configs()
STREAMING = [name for name, config in KINDS.items() if not config.windowed]
# A causal PoseMoE takes most of a minute to trace in chunks. The artefacts "retention-chunk" and "dssm-chunk" of other tests
# are such, and the frame lifters here have the remaining parts of ours: the view, the refinement over time and sigma.
CHUNKED = [name for name in STREAMING if KINDS[name].topology != "moe" or KINDS[name].lookahead]
# A step has no frame ahead: a lifter with lookahead computes the steps of the causal preset of its configuration.
CAUSAL = {
    name: other
    for name, config in KINDS.items()
    for other, its in KINDS.items()
    if name in STREAMING and config.lookahead and its == replace(config, lookahead=False)
}


def perturbed_lifter(config: LifterConfig) -> Lifter:
    """The network with every weight moved from its initial value, wide matrices by less: features keep their size."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build(config).requires_grad_(False).eval()
        frozen = {id(buffer) for module in model.modules() for name, buffer in module.named_parameters() if "decay" in name}
        for weight in model.parameters():
            if id(weight) not in frozen:
                wide = weight.shape[-1] if weight.ndim == 2 else 1
                weight.add_(min(0.1, wide**-0.5) * torch.randn_like(weight))
    return model


def expected(model: Lifter, keypoints: np.ndarray, chunk: int | None) -> np.ndarray:
    """(T, J, 3), with sigma (T, J, 4), poses of a stream, frame by frame, by PyTorch alone, in the order of the model."""
    x = torch.from_numpy(keypoints)[None, ..., : model.config.channels]  # (1, T, J, c)
    if chunk is not None:
        state: torch.Tensor | None = None
        poses: list[torch.Tensor] = []
        for start in range(0, FRAMES - FRAMES % chunk, chunk):
            y, state = model.chunk(x[:, start : start + chunk], state)
            poses.append(y[0])
        early = []
        for received in range(1, chunk):  # until the first chunk is complete
            newest = torch.cat([x[:, :received], x[:, received - 1 : received].expand(-1, chunk - received, -1, -1)], dim=1)
            early.append(model.chunk(newest)[0][0, :1])
        return torch.cat([*early, *poses])[:FRAMES].numpy()
    if model.state_shape is not None:
        state, poses = None, []
        for t in range(FRAMES):
            y, state = model.step(x[:, t], state)
            poses.append(y)
        return torch.cat(poses).numpy()
    window = model.config.window or 0
    padded = torch.cat([x[:, :1].expand(-1, window - 1, -1, -1), x], dim=1)
    windows = torch.cat([padded[:, t : t + window] for t in range(FRAMES)])  # (T, window, J, c)
    last: torch.Tensor = model(windows)[:, -1]
    return last.numpy()


@pytest.mark.parametrize(
    ("name", "chunk"),  # the longest first, so that the workers finish together
    [*((name, CHUNK) for name in CHUNKED), *((name, None) for name in KINDS if name not in CAUSAL)],
)
def test_a_preset_runs_as_its_reference_and_is_certified(
    name: str, chunk: int | None, tmp_path: Path, walker_keypoints: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    for blocks in ("BLOCKS", "TIME_LAYERS"):
        monkeypatch.setattr(PoseStem, blocks, 1)
    model = perturbed_lifter(KINDS[name])
    folder = tmp_path / name
    manifest = export(model, folder, preset=name, chunk=chunk)
    mode = "chunk" if chunk else "window" if model.config.windowed else "step"
    assert manifest.mode == mode and manifest.skeleton == model.config.skeleton

    keypoints = walker_keypoints(FRAMES)
    order = list(H36M_ORDERS[model.config.skeleton])
    runtime = load(folder)
    assert runtime.latency_frames == (chunk - 1 if chunk else model.latency_frames)
    with runtime.stream() as stream:
        poses = [stream.step(frame) for frame in keypoints]
    lifted = np.stack([pose.xyz_m for pose in poses])[:, order]
    sigmas = [pose.sigma_m for pose in poses if pose.sigma_m is not None]
    if model.config.sigma:
        lifted = np.concatenate([lifted, np.stack(sigmas)[:, order, None]], axis=-1)
    reference = expected(model, keypoints[:, order], chunk)
    if not np.abs(lifted - reference).max() < SAME_M * max(1, np.abs(reference).max()):
        # A random network may lose more in float32. Then the engine must lose no more than twice what PyTorch loses itself.
        exact = expected(copy.deepcopy(model).double(), keypoints[:, order].astype(np.float64), chunk)
        assert np.abs(lifted - exact).max() < 2 * np.abs(reference - exact).max() < 10 * SAME_M
    assert np.ptp(lifted, axis=0).max() > 100 * SAME_M  # the poses change over time

    monkeypatch.setattr(verify_module, "draw_certificate", lambda file, certificate: file.write(b"a plot"))  # seconds
    budget = frame_limits(DEFAULT_BUDGET)  # twenty frames cannot show growth
    certificate = verify(folder, load_reference, *walker_motion(frames=20, streams=1), budget=budget)
    assert certificate.passed and certificate.drifts[0].measured.max_mm < 0.1

    if find_spec("tensorrt_rtx"):  # it exists for x86-64 alone
        assert read_layers(import_tensorrt("tensorrt-rtx"), folder / manifest.graphs[0].file)  # NVIDIA's real parser reads it


@pytest.mark.parametrize("name", CAUSAL)
def test_the_steps_of_a_lifter_with_lookahead_are_those_of_the_causal_one(
    name: str, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    """Both networks compute the same bit for bit, so their step graphs are the same; the test above exports one of them."""
    ahead, causal = perturbed_lifter(KINDS[name]), perturbed_lifter(KINDS[CAUSAL[name]])
    causal.load_state_dict(ahead.state_dict())
    states: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    for frame in torch.tensor(walker_keypoints(FRAMES)[..., : ahead.config.channels])[:, None]:
        stepped = [model.step(frame, old) for model, old in zip((ahead, causal), states, strict=True)]
        (pose, state), (causal_pose, causal_state) = stepped
        assert pose.equal(causal_pose) and state.equal(causal_state)
        states = state, causal_state


def test_every_published_system_has_a_preset() -> None:
    papers = {preset.published.paper.split(",")[0].split(" ")[0] for preset in PRESETS.values() if preset.published}
    assert papers == {"PoseMoE", "PoseRetNet", "HumMUSS", "H2OT", "MixSTE", "MotionBERT"}

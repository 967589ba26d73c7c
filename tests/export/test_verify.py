"""Verify: an artefact passes for what it is, a broken one fails, and its certificate cannot be carried elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from posemoe_edge.calib.rollout import roll_out
from posemoe_edge.edge.checkpoints import load_reference
from posemoe_edge.edge.data.motion import real_motion, walker_motion
from posemoe_edge.export import verify as verify_module
from posemoe_edge.export.verify import lift_reference, verify
from posemoe_edge.runtime import ArtefactError, CheckFailedError, UsageError, load
from posemoe_edge.runtime.certificate import Budget, Certificate
from posemoe_edge.runtime.manifest import check_file, read_manifest, record_file, write_manifest
from posemoe_edge.runtime.skeleton import H36M17, MPI3DHP17

FRAMES = 40
WIDE = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)  # what random weights pass in half precision


@pytest.fixture(autouse=True)
def _quick_plot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plot takes longer than all the rest: it is drawn once, for ``certified_artefact``."""
    request.getfixturevalue("_certified")
    monkeypatch.setattr(verify_module, "draw_lines", lambda path, lines: path.write_bytes(b"a plot"))


def certify(folder: Path, budget: Budget = WIDE) -> Certificate:
    return verify(folder, load_reference, *walker_motion(frames=FRAMES), budget=budget)


def spoil(folder: Path, change: Callable[[np.ndarray], np.ndarray], name: str = "step.fp32.onnx") -> None:
    """Change a weight of a graph, and record the graph as it is now."""
    proto = onnx.load(folder / name)
    weight = max(proto.graph.initializer, key=lambda w: numpy_helper.to_array(w).size)
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), weight.name))
    onnx.save(proto, folder / name)
    manifest = read_manifest(folder)
    files = manifest.files | {name: record_file(folder / name)}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


KINDS = ["retention", "dssm", "attention", "lookahead-chunk", "gated-chunk", "centre", "3dhp"]


@pytest.mark.parametrize("mixer", KINDS)
def test_a_float_graph_passes_by_a_thousandth_of_its_budget(mixer: str, copy_of: Callable[[str], Path]) -> None:
    ticks: list[int] = []
    folder = copy_of(mixer)
    certificate = verify(folder, load_reference, *walker_motion(frames=FRAMES), budget=WIDE, tick=ticks.append)
    drift = certificate.drift("fp32")
    assert drift is not None and drift.passed and drift.measured.max_mm < 0.02 and drift.frames == FRAMES
    assert sum(ticks) == FRAMES * (len(certificate.drifts) + 1)
    assert load(folder).certificate == certificate


def test_a_certificate_says_what_was_measured(certified_artefact: Path) -> None:
    manifest = read_manifest(certified_artefact)
    certificate = load(certified_artefact).certificate
    assert certificate is not None
    assert certificate.preset == "tiny-retention" and certificate.motion.kind == "procedural walker"
    assert certificate.reference.startswith("PyTorch ")
    assert certificate.reference_sha256 == manifest.files["reference.safetensors"].sha256
    for graph in manifest.graphs:
        drift = certificate.drift(graph.precision)
        assert drift is not None and drift.graph_sha256 == manifest.files[graph.file].sha256
        assert tuple(drift.per_joint_mean_mm) == tuple(drift.per_joint_max_mm) == H36M17.joints
        assert np.mean(list(drift.per_joint_mean_mm.values())) == pytest.approx(drift.measured.mean_mm)
        assert max(drift.per_joint_max_mm.values()) == drift.measured.max_mm
        assert ("half" in drift.arithmetic) == (graph.precision == "fp16")
    assert (certified_artefact / "certificate.png").read_bytes().startswith(b"\x89PNG")


def test_half_precision_drifts_more_than_float_and_is_judged_by_itself(copied_artefact: Path) -> None:
    tight = Budget(mean_mm=0.01, p99_mm=0.05, max_mm=0.1, slope_mm_per_1000=0.1)
    certificate = certify(copied_artefact, tight)
    fp32, fp16 = certificate.drift("fp32"), certificate.drift("fp16")
    assert fp32 is not None and fp16 is not None
    assert fp16.measured.mean_mm > 100 * fp32.measured.mean_mm
    assert fp32.passed and not fp16.passed and not certificate.passed
    assert any("mean_mm" in reason for reason in fp16.exceeded)
    load(copied_artefact)
    with pytest.raises(CheckFailedError, match="tiny-retention fp16 failed its drift certificate: mean_mm"):
        load(copied_artefact, precision="fp16")


def test_the_smallest_budget_that_it_names_is_one_that_it_passes(copied_artefact: Path) -> None:
    first = certify(copied_artefact)
    drifts = [drift.smallest_budget for drift in first.drifts]
    most = Budget(**{field: max(getattr(drift, field) for drift in drifts) for field in Budget.model_fields})
    assert certify(copied_artefact, most).passed


def test_a_broken_graph_fails_and_is_not_run(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: weight * 3)
    load(copied_artefact)  # every hash is right: only the numbers tell
    certificate = certify(copied_artefact)
    assert not certificate.passed and certificate.drift("fp32").exceeded  # type: ignore[union-attr]
    with pytest.raises(CheckFailedError, match="fp32 failed its drift certificate") as caught:
        load(copied_artefact)
    assert caught.value.exit_code == 1
    load(copied_artefact, allow_failed=True)
    load(copied_artefact, precision="fp16")


def test_a_memory_that_leaks_fails(copied_artefact: Path) -> None:
    """What a check of single frames cannot see: an error of the decay alone."""
    proto = onnx.load(copied_artefact / "step.fp32.onnx")
    (decay,) = (w for w in proto.graph.initializer if w.name.endswith("log_gamma"))
    decay.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(decay) * np.float32(0.7), decay.name))
    onnx.save(proto, copied_artefact / "step.fp32.onnx")
    spoil(copied_artefact, lambda weight: weight)
    assert not certify(copied_artefact, Budget(mean_mm=1, p99_mm=5, max_mm=20, slope_mm_per_1000=0.1)).passed


def test_a_graph_that_answers_nan_fails_like_any_other(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: np.full_like(weight, np.nan))
    certificate = certify(copied_artefact)
    assert not certificate.passed
    with pytest.raises(CheckFailedError):
        load(copied_artefact)


def test_verifying_again_replaces_the_certificate(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: weight * 3)
    assert not certify(copied_artefact).passed
    spoil(copied_artefact, lambda weight: weight / 3)
    again = certify(copied_artefact)
    assert again.passed and load(copied_artefact).certificate == again
    manifest = read_manifest(copied_artefact)
    for name in manifest.files:
        check_file(copied_artefact, manifest, name)
    assert set(manifest.files) == {path.name for path in copied_artefact.iterdir()} - {"manifest.json"}


@pytest.mark.parametrize("name", ["step.fp32.onnx", "step.fp16.onnx", "reference.safetensors", "reference.json"])
def test_an_artefact_that_was_changed_is_not_certified(copied_artefact: Path, name: str) -> None:
    with (copied_artefact / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtefactError, match=name):
        certify(copied_artefact)
    assert not (copied_artefact / "certificate.json").exists()


def test_without_reference_weights_there_is_nothing_to_compare_with(copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    files = {name: record for name, record in manifest.files.items() if not name.startswith("reference")}
    write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
    with pytest.raises(ArtefactError, match="holds no reference weights"):
        certify(copied_artefact)


@pytest.mark.parametrize("before", ["uncertified", "certified"])
@pytest.mark.parametrize(
    ("function", "call"),
    [("write_manifest", 1), ("write_atomically", 1), ("draw_lines", 1), ("record_file", 2), ("write_manifest", 2)],
)
def test_an_interruption_leaves_an_artefact_that_loads(
    copied_artefact: Path,
    certified_artefact: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    function: str,
    call: int,
) -> None:
    folder = certified_artefact if before == "certified" else copied_artefact
    original, calls = getattr(verify_module, function), []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(verify_module, function, interrupted)
        certify(folder)
    model = load(folder)
    kept = before == "certified" and (function, call) == ("write_manifest", 1)
    assert (model.certificate is not None) == kept  # the old one whole, or none
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".part")]
    assert certify(folder).passed and load(folder).certificate is not None


def test_the_reference_carries_its_state_over_blocks(tiny: Callable[[str], Any]) -> None:
    import torch

    recording, _ = walker_motion(frames=130)  # more than one block of the reference
    model = tiny("retention")
    state, poses = model.initial_state(1), []
    with torch.no_grad():
        for t in range(130):
            y, state = model.step(
                torch.from_numpy(recording.keypoints[t][None]),
                state,
                torch.from_numpy(recording.dt_s[t : t + 1]),
                torch.from_numpy(recording.reset[t : t + 1]),
            )
            poses.append(y[0].numpy())
    np.testing.assert_allclose(lift_reference(model, recording), poses, atol=1e-5)


@pytest.mark.parametrize(("chunk", "apart"), [(4, 4), (None, 1)])
def test_the_reference_of_a_lifter_with_lookahead_keeps_the_borders_of_its_chunks(
    chunk: int | None, apart: int, tiny: Callable[[str], Any]
) -> None:
    import torch

    recording, _ = walker_motion(frames=12)
    model, poses = tiny("lookahead"), []
    state = model.initial_state(1)
    with torch.no_grad():
        for start in range(0, 12, apart):
            x, dt = (torch.from_numpy(a[None, start : start + apart]) for a in (recording.keypoints, recording.dt_s))
            y, state = model.chunk(x, state, dt, None)
            poses.append(y[0].numpy())
    np.testing.assert_allclose(lift_reference(model, recording, chunk=chunk), np.concatenate(poses), atol=1e-5)
    other = lift_reference(model, recording, chunk=6)
    assert np.abs(other - np.concatenate(poses)).max() > 1e-3  # they do matter


@pytest.mark.parametrize("kind", ["lookahead-chunk", "attention", "centre"])
@pytest.mark.parametrize("frames", [1, 7, 9])
def test_a_short_end_and_a_reset_are_lifted_alike_on_both_sides(
    kind: str, frames: int, artefact_of: Callable[[str], Path], tiny: Callable[[str], Any]
) -> None:
    recording, _ = walker_motion(frames=frames)
    recording.reset[frames // 2] = True
    folder = artefact_of(kind)
    graph = read_manifest(folder).graph()
    chunk = graph.frames if graph.mode == "chunk" else None
    expected = lift_reference(tiny(kind), recording, chunk=chunk)
    assert expected.shape == (frames, 17, 3)
    np.testing.assert_allclose(roll_out(folder / graph.file, graph, recording), expected, atol=1e-5)


def test_the_joints_of_a_certificate_are_the_models(copy_of: Callable[[str], Path]) -> None:
    drift = certify(copy_of("3dhp")).drift("fp32")
    assert drift is not None and tuple(drift.per_joint_mean_mm) == tuple(drift.per_joint_max_mm) == MPI3DHP17.joints


def test_a_model_of_another_skeleton_is_verified_on_what_it_would_be_given(
    copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    roll = verify_module.roll_out
    monkeypatch.setattr(verify_module, "roll_out", lambda *args, **options: given.append(args[2]) or roll(*args, **options))
    certify(copy_of("3dhp"))
    recording, _ = walker_motion(frames=FRAMES)
    names = {"head_top": "head", "neck": "thorax", "head": "nose", "pelvis": "hip"}
    order = [H36M17.joints.index(names.get(name, name)) for name in MPI3DHP17.joints]
    np.testing.assert_array_equal(given[0].keypoints, recording.keypoints[:, order, :2])


def test_the_walker_is_the_same_for_the_same_seed() -> None:
    (a, first), (b, second), (c, third) = (walker_motion(frames=20, seed=seed) for seed in (1, 1, 2))
    assert first == second and first.sha256 != third.sha256
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    assert a.reset.tolist() == [True] + [False] * 19 and len(c) == 20 and a.dt_s.dtype == np.float32


def test_real_motion_is_the_test_split_clip_after_clip(
    write_motion: Callable[..., Path], walker_clip: Callable[..., Any]
) -> None:
    splits = {"a": "train", "b": "test", "c": "test", "d": "test"}
    clips = [walker_clip(name, 40, seed=i, split=split) for i, (name, split) in enumerate(splits.items())]
    path = write_motion(clips)
    recording, motion = real_motion(path, frames=60)
    assert motion.clips == ("b", "c") and motion.frames == len(recording) == 60 and motion.source == "motion.npz"
    assert recording.reset.sum() == 1  # one stream: the cuts are part of the test
    with pytest.raises(UsageError, match="200 frames asked of the test split; expected at most 120"):
        real_motion(path, frames=200)


def test_a_certificate_is_plain_json(certified_artefact: Path) -> None:
    text = (certified_artefact / "certificate.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["passed"] is True

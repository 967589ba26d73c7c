"""Each benchmark runs as a command on tiny models and measures what was constructed."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge import presets
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.camera import place_camera
from posemoe_edge.edge.data.mocap import Clip, load_clips
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.evaluation import compute_metrics, evaluate
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.export.reference import save_reference
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROUNDED = 0.006  # results are rounded to hundredths
PNG = b"\x89PNG"


@pytest.fixture
def data(make_walker_clip: Callable[..., Clip], write_motion_file: Callable[..., Path]) -> Path:
    test = [make_walker_clip("a", 60, seed=1, split="test"), make_walker_clip("b", 45, seed=2, split="test")]
    return write_motion_file([*test, make_walker_clip("c", 90, seed=3), make_walker_clip("d", 90, seed=4)])


@pytest.fixture
def clips(data: Path) -> list[Clip]:
    """The test split of the file, which rounds to 0.1 mm."""
    return load_clips(data, "test")


@pytest.fixture
def exact(clips: list[Clip]) -> list[PoseSequence]:
    return evaluation_sequences(clips, noisy=False)


@pytest.fixture
def run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """run("noise", "--clips", 1): the JSON result of the command, which has also drawn a plot.

    ``main`` is that of an imported module that the test has changed; a script is a module of its own.
    """

    def command(name: str, *arguments: object, main: Callable[[], None] | None = None) -> dict[str, Any]:
        json_path, plot_path = tmp_path / f"{name}.json", tmp_path / f"{name}.png"
        options = ["--data", data, *arguments, "--json", json_path, "--plot", plot_path]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        if main is None:
            runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        else:
            main()
        assert plot_path.read_bytes().startswith(PNG)
        result: dict[str, Any] = json.loads(json_path.read_text())
        assert result["rows"]
        return result

    return command


@pytest.fixture
def weights(tmp_path: Path, tiny_lifter: Callable[[str], Lifter]) -> Callable[..., list[str]]:
    """weights("retention"): --weights retention=FILE."""

    def options(*kinds: str) -> list[str]:
        for kind in kinds:
            save_reference(tmp_path / f"{kind}.safetensors", tiny_lifter(kind), preset=kind)
        return ["--weights", *(f"{kind}={tmp_path / kind}.safetensors" for kind in kinds)]

    return options


def module(name: str) -> Namespace:
    """The names that a benchmark's script defines."""
    return Namespace(**runpy.run_path(str(BENCHMARKS / f"{name}.py")))


def row_of(result: dict[str, Any], **values: object) -> dict[str, Any]:
    """The only row that has these values."""
    rows = [row for row in result["rows"] if all(row[key] == value for key, value in values.items())]
    assert len(rows) == 1
    return dict(rows[0])


def error_mm(model: Lifter, sequences: list[PoseSequence]) -> float:
    return float(compute_metrics(sequences, [lift_sequence(model, sequence) for sequence in sequences])["mpjpe_mm"])


# chunks


def test_a_step_is_what_the_model_streams(run: Any, weights: Any, tiny_lifter: Any, clips: list[Clip]) -> None:
    result = run("chunks", *weights("retention", "attention", "lookahead", "dssm"), "--rounds", 1)
    noisy = evaluation_sequences(clips, noisy=True)
    step = row_of(result, weights="retention", mode="step")
    assert step["mpjpe_mm"] == pytest.approx(error_mm(tiny_lifter("retention"), noisy), abs=ROUNDED)
    assert step["worst_latency_frames"] == 0 and step["over_step"] == 1 and step["as_trained"]
    chunk = row_of(result, weights="retention", mode="chunk 27")
    assert (chunk["worst_latency_frames"], chunk["mean_latency_frames"], chunk["mean_latency_ms"]) == (26, 13, 260)
    assert not chunk["as_trained"] and chunk["mpjpe_mm"] != step["mpjpe_mm"]
    windows = row_of(result, weights="attention", mode="windows 9")
    assert windows["mpjpe_mm"] == pytest.approx(error_mm(tiny_lifter("attention"), noisy), abs=ROUNDED)
    assert windows["mean_latency_frames"] == 4 and row_of(result, weights="attention", mode="sliding 9")["mean_latency_ms"] == 0
    assert not row_of(result, weights="lookahead", mode="step")["as_trained"]
    assert row_of(result, weights="lookahead", mode="chunk 81")["mpjpe_mm"] == pytest.approx(
        error_mm(tiny_lifter("lookahead"), noisy), abs=ROUNDED
    )
    assert [note.split(" was not trained for ")[0] for note in result["notes"]] == ["retention", "lookahead"]


def test_a_sliding_window_is_fed_as_the_runtime_feeds_it(
    tiny_lifter: Callable[[str], Lifter], exact: list[PoseSequence]
) -> None:
    model, frames = tiny_lifter("attention"), list(torch.from_numpy(exact[1].keypoints))
    ring = frames[:1] * (model.config.window or 1)  # until a window is full its oldest frame is repeated
    answers = []
    for frame in frames:
        ring = [*ring[1:], frame]
        with torch.no_grad():
            answers.append(model(torch.stack(ring)[None])[0, -1].numpy())
    np.testing.assert_allclose(module("chunks").lift_sliding(model, exact[1]), np.stack(answers), atol=1e-5)


# rates


def test_at_the_nominal_rate_dt_makes_no_difference(run: Any, weights: Any, tiny_lifter: Any, clips: list[Clip]) -> None:
    result = run("rates", *weights("retention", "attention"))
    nominal = row_of(result, weights="retention", camera="50 Hz")
    assert nominal["with_dt_mm"] == nominal["without_dt_mm"]
    noisy = evaluation_sequences(clips, noisy=True)  # projected by the same cameras
    assert nominal["with_dt_mm"] == pytest.approx(error_mm(tiny_lifter("retention"), noisy), abs=ROUNDED)
    slow = row_of(result, weights="retention", camera="6.25 Hz")
    assert slow["with_dt_mm"] != slow["without_dt_mm"] and slow["frames"] == 8 + 6
    assert row_of(result, weights="attention", camera="25 Hz")["with_dt_mm"] is None


# noise


def test_no_noise_is_the_exact_sequence(run: Any, weights: Any, tiny_lifter: Any, exact: list[PoseSequence]) -> None:
    result = run("noise", *weights("retention"))
    still = row_of(result, sigma_px=0)
    assert still["mpjpe_mm"] == pytest.approx(error_mm(tiny_lifter("retention"), exact), abs=ROUNDED)
    assert [still[f"{part}_erosion"] for part in ("mpjpe", "xy", "z")] == [1, 1, 1]
    assert row_of(result, sigma_px=20)["mpjpe_mm"] != still["mpjpe_mm"]


def test_noise_has_the_size_that_it_says(exact: list[PoseSequence]) -> None:
    spoiled = module("noise").add_noise(exact[0], 10).keypoints - exact[0].keypoints
    assert 500 * float(spoiled[..., :2].std()) == pytest.approx(10, rel=0.1)  # 1000 px are 2
    assert not spoiled[..., 2].any()


def test_an_error_is_split_along_the_picture_and_in_depth(exact: list[PoseSequence]) -> None:
    truth = exact[0].pose_m
    off = np.ones(17)[:, None] * [0.003, 0.004, -0.010]
    off[0] = 0  # the hip stays
    result = module("noise").split_error([truth + off.astype(np.float32)], [truth])
    assert result == pytest.approx({"xy_mm": 5 * 16 / 17, "z_mm": 10 * 16 / 17}, rel=1e-3)


# missing


def test_nothing_missing_is_the_exact_sequence(run: Any, weights: Any, tiny_lifter: Any, exact: list[PoseSequence]) -> None:
    result = run("missing", *weights("retention"))
    clean = error_mm(tiny_lifter("retention"), exact)
    for what in ("joints", "frames"):
        for encoding in ("confidence", "memory", "nothing", "held"):
            row = row_of(result, missing=what, requested_percent=0, encoding=encoding)
            assert row["mpjpe_mm"] == pytest.approx(clean, abs=ROUNDED) and row["mpjpe_of_missing_mm"] is None
    assert row_of(result, missing="joints", requested_percent=40, encoding="confidence")["percent"] == pytest.approx(40, abs=4)
    assert row_of(result, missing="joints", requested_percent=40, encoding="nothing")["mpjpe_mm"] != pytest.approx(
        clean, abs=ROUNDED
    )


def test_missing_joints_are_encoded_in_four_ways(exact: list[PoseSequence]) -> None:
    benchmark, sequence = module("missing"), exact[0]
    mask = np.zeros((len(sequence), 17), bool)
    mask[10:20, 3] = mask[:5, 7] = True
    by_confidence, memory, nothing, held = (
        benchmark.encode_missing(sequence, mask, encoding).keypoints for encoding in benchmark.ENCODINGS
    )
    others = np.delete(np.arange(17), 3)
    steps = np.sort(np.diff(sequence.keypoints[9:20, others, :2], axis=0), axis=1)[:, len(others) // 2]  # the median joint's
    np.testing.assert_allclose(memory[10:20, 3, :2], sequence.keypoints[9, 3, :2] + np.cumsum(steps, axis=0), atol=1e-5)
    assert (np.diff(memory[9:20, 3, 2]) < 0).all()
    assert not memory[:5, 7].any() and (memory[~mask] == sequence.keypoints[~mask]).all()
    assert not by_confidence[mask].any() and (by_confidence[~mask] == sequence.keypoints[~mask]).all()
    assert not nothing[mask][:, :2].any() and (nothing[..., 2] == 1).all()
    assert (held[10:20, 3, :2] == sequence.keypoints[9, 3, :2]).all() and (held[20:, 3] == sequence.keypoints[20:, 3]).all()
    assert not held[:5, 7, :2].any() and (held[..., 2] == 1).all()


def test_limbs_are_missing_every_other_second(make_walker_clip: Callable[..., Clip]) -> None:
    (sequence,) = evaluation_sequences([make_walker_clip("a", 220)], noisy=False)
    mask = module("missing").missing_mask(sequence, "limb", 1.0)
    missing_frames = [int(part.any(axis=1).sum()) for part in np.split(mask, [50, 100, 150, 200])]
    assert missing_frames == [0, 50, 0, 50, 0] and set(mask.sum(axis=1)) == {0, 3}


# decoder


def test_the_decoder_is_cut_off_and_trained_at_equal_budget(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clips: list[Clip]
) -> None:
    config = PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1)
    monkeypatch.setitem(presets.PRESETS, "tiny", Preset("tiny", config, "for tests"))
    result = run(
        "decoder", "--preset", "tiny", "--updates", 2, "--rows", 2, "--frames", 9, "--seed", 3, "--out", tmp_path / "out",
        "--without", "encoder-alone", "no-spatial-ceka",
    )  # fmt: skip
    whole, none = (row_of(result, weights=name, input="exact") for name in ("whole", "encoder-alone"))
    assert whole["params"] > row_of(result, weights="no-spatial-ceka", input="exact")["params"] > none["params"]
    assert whole["macs_per_frame"] > none["macs_per_frame"]
    assert (whole["ablation"], none["ablation"], whole["over whole"]) == ("nothing", "VI encoder alone", 1)
    assert result["recipe"]["seed"] == 3 and {training["updates"] for training in result["trainings"].values()} == {2}

    paths = {name: tmp_path / "out" / f"{name}.safetensors" for name in ("whole", "encoder-alone")}
    again = run("decoder", "--weights", *(f"{name}={path}" for name, path in paths.items()))
    assert again["rows"] == [row for row in result["rows"] if row["weights"] in paths] and "recipe" not in again
    model, _ = load_checkpoint(paths["encoder-alone"])
    assert none["mpjpe_mm"] == pytest.approx(error_mm(model, evaluation_sequences(clips, noisy=False)), abs=ROUNDED)


def test_a_whole_network_of_the_same_budget_is_not_trained_again(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1)
    monkeypatch.setitem(presets.PRESETS, "tiny", Preset("tiny", config, "for tests"))
    budget = ["--preset", "tiny", "--rows", 2, "--frames", 9, "--without", "no-temporal-ceka"]
    first = run("decoder", *budget, "--updates", 2, "--out", tmp_path / "first")
    whole = ["--whole", tmp_path / "first" / "whole.safetensors", "--out", tmp_path / "second"]
    second = run("decoder", *budget, "--updates", 2, *whole)
    assert row_of(second, weights="whole", input="noisy") == row_of(first, weights="whole", input="noisy")
    assert second["trainings"]["whole"] == first["trainings"]["whole"]
    assert {path.stem for path in (tmp_path / "second").glob("*.json")} == {"no-temporal-ceka"}
    for other in (["--updates", 3], ["--updates", 2, "--seed", 1]):
        with pytest.raises(SystemExit, match=r"whole\.safetensors is not a tiny of this budget"):
            run("decoder", *budget, *other, *whole)


def test_only_a_posemoe_has_a_decoder(run: Any, weights: Any) -> None:
    with pytest.raises(SystemExit, match="gated is no PoseMoE"):
        run("decoder", *weights("gated"))


# loader


def test_every_loader_is_measured_against_a_training(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1)
    monkeypatch.setitem(presets.PRESETS, "tiny", Preset("tiny", config, "for tests"))
    result = run("loader", "--preset", "tiny", "--updates", 2, "--played", 3)
    assert {(row["loader"], row["rows"] * row["frames"]) for row in result["rows"]} == {("streams", 486), ("windows", 486)}
    assert result["training_frames_per_second"] > 0 and result["split"] == "train"
    for row in result["rows"]:
        ratio = row["frames_per_second"] / result["training_frames_per_second"]
        assert row["over_training"] == pytest.approx(ratio, rel=0.02, abs=0.1)


# zoo


def test_the_zoo_compares_with_those_that_are_named(
    run: Any, weights: Any, tiny_lifter: Any, tmp_path: Path, exact: list[PoseSequence]
) -> None:
    text = tmp_path / "zoo.txt"
    result = run(
        "zoo", *weights("retention", "attention", "dssm"), "--against", "attention", "--baseline", "dssm", "--text", text
    )
    row, other = (row_of(result, weights=name, input="exact") for name in ("retention", "attention"))
    assert row["mpjpe_mm"] == pytest.approx(error_mm(tiny_lifter("retention"), exact), abs=ROUNDED)
    assert (
        row["over attention"] == pytest.approx(row["mpjpe_mm"] / other["mpjpe_mm"], abs=1e-3) and other["over attention"] == 1
    )
    assert row["params"] == sum(p.numel() for p in tiny_lifter("retention").parameters())
    assert row_of(result, weights="dssm", input="noisy")["over dssm"] == 1
    assert row_of(result, weights="dssm", input="noisy")["lead over dssm"] == "0.0 [0.0, 0.0]"
    low, high = (float(x) for x in row["interval_mm"].strip("[]").split(","))
    assert low <= row["mpjpe_mm"] <= high
    assert len(text.read_text().splitlines()) == 1 + 6
    with pytest.raises(SystemExit, match="no weights named nobody"):
        run("zoo", *weights("retention"), "--against", "nobody")


def test_flips_in_the_zoo_are_those_of_eval(
    run: Any, weights: Any, artefact_of: Callable[[str], Path], exact: list[PoseSequence]
) -> None:
    row = row_of(run("zoo", *weights("retention")), weights="retention", input="exact")
    as_it_runs = evaluate(load(artefact_of("retention")), exact, flip=True)["mpjpe_mm"]
    assert row["flip_mpjpe_mm"] == pytest.approx(as_it_runs, abs=ROUNDED) and row["flip_mpjpe_mm"] != row["mpjpe_mm"]


def test_more_cameras_are_more_sequences_of_the_same_clips(run: Any, weights: Any) -> None:
    one, two = (run("zoo", *weights("retention"), "--cameras", cameras) for cameras in (1, 2))
    assert one["cameras"] == 1 and two["cameras"] == 2 and one["clips"] == two["clips"]
    assert row_of(one, input="exact")["mpjpe_mm"] != row_of(two, input="exact")["mpjpe_mm"]


# cameras


def test_every_sweep_goes_through_its_base(run: Any, weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = importlib.import_module("cameras")
    monkeypatch.setattr(cameras, "SWEEPS", {"focal": (1.15,), "roll_deg": (0.0, 30.0)})
    result = run("cameras", *weights("retention"), main=cameras.main)
    assert len(result["rows"]) == 4 * (1 + 3)  # of both inputs, for a camera that is known and for one that is not
    base = row_of(result, input="exact", known=True, swept="base")
    assert base["over_base"] == 1 and base["seen_percent"] > 90
    for swept, value in (("focal", 1.15), ("roll_deg", 0.0)):
        assert row_of(result, input="exact", known=True, swept=swept, value=value)["mpjpe_mm"] == base["mpjpe_mm"]
    assert row_of(result, input="exact", known=True, swept="roll_deg", value=30.0)["mpjpe_mm"] != base["mpjpe_mm"]


# positions


def test_positions_of_perfect_poses_are_exact_and_those_of_another_size_are_scaled(clips: list[Clip]) -> None:
    positions = module("positions")
    filmed = positions.film(clips, 6, 4, noisy=False)
    poses_m = filmed.joints_m - filmed.joints_m[:, :, :1]
    exact, larger = positions.row_of(filmed, poses_m, true=True), positions.row_of(filmed, 1.1 * poses_m, true=True)
    assert exact["figure"] < 0.1 and exact["doubted"] == larger["doubted"] == 0 and exact["placed"] > 0
    assert larger["stature"] == exact["stature"] and larger["bias"] == exact["bias"]
    assert 0 < exact["stature"] < 6  # of the proportions alone
    scrambled = positions.impossible(filmed, "scrambled")
    row = positions.row_of(scrambled, poses_m, true=False)
    assert row["doubted"] > 50 and "figure" not in row
    halves = positions.impossible(filmed, "two people").keypoints
    np.testing.assert_array_equal(halves[:, :, 7:], filmed.keypoints[:, :, 7:])
    assert (halves[:, :, 1:7, :2] != filmed.keypoints[:, :, 1:7, :2]).any(axis=(1, 2, 3)).mean() > 0.5


def test_the_shipped_weights_place_people_and_notice_what_no_body_fits(run: Any) -> None:
    result = run("positions", "--split", "test", "--people", 6, "--frames", 3)
    assert [(row["input"], row["keypoints"]) for row in result["rows"]] == [
        (label, kind) for label in ("exact", "noisy") for kind in ("own", "scrambled", "two people")
    ]
    own, scrambled = result["rows"][0], result["rows"][1]
    assert own["doubted"] < 10 and scrambled["doubted"] > 50 > scrambled["placed"] and own["figure"] < 20


def test_a_placed_camera_is_where_it_should_be() -> None:
    target = np.array([0.5, -1.0, 0.9], np.float32)
    camera = place_camera(target, focal=0.8, pitch_deg=30, roll_deg=10, distance_m=3, azimuth_deg=70)
    np.testing.assert_allclose(np.linalg.norm(camera.eye_m - target), 3, rtol=1e-5)
    assert camera.eye_m[2] - target[2] == pytest.approx(1.5, abs=1e-5)  # half of 3 m above, at 30 degrees
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(camera.to_camera(target[None, None])[0, 0], (0, 0, 3), atol=1e-5)
    np.testing.assert_allclose(camera.intrinsics, (1.6, 1.6, 0, 0), atol=1e-6)


# experiment


def test_a_table_has_its_columns_below_each_other() -> None:
    rows = [{"name": "a", "mm": 1.5, "ok": True}, {"name": "bcd", "mm": 12.25, "frames": 12000}]
    assert module("experiment").format_table(rows).splitlines() == [
        "name     mm   ok  frames",
        "a      1.50  yes       -",
        "bcd   12.25    -  12,000",
    ]


def test_lifters_that_answer_for_one_frame_of_a_window_are_refused(run: Any, weights: Any) -> None:
    with pytest.raises(SystemExit, match="centre gives the pose of one frame"):
        run("noise", *weights("centre"))


def test_the_shipped_weights_are_the_default() -> None:
    (name,) = module("experiment").load_lifters(Namespace(weights=None, device="cpu"))
    assert name == DEFAULT_MODEL


def test_fewer_clips_are_measured_and_all_are_trained_on(data: Path) -> None:
    options, selected_clips = Namespace(data=data, split="test", every=2, clips=None), module("experiment").selected_clips
    assert [clip.id for clip in selected_clips(options)] == ["a"]
    assert [clip.id for clip in selected_clips(options, "train")] == ["c", "d"]


def test_contestants_run_in_turn() -> None:
    order: list[str] = []
    result = module("experiment").interleaved_seconds(
        {name: lambda name=name: order.append(name) for name in "ab"}, rounds=2, warm_up=1
    )
    assert "".join(order) == "baabba" and set(result) == {"a", "b"} and min(result.values()) >= 0


def test_looking_ahead_changes_no_weight(tiny_lifter: Callable[[str], Lifter], exact: list[PoseSequence]) -> None:
    with_lookahead = module("chunks").with_lookahead
    model = tiny_lifter("retention")
    ahead = with_lookahead(model, True)
    assert ahead.config == replace(model.config, lookahead=True)
    assert all(torch.equal(a, b) for a, b in zip(ahead.parameters(), model.parameters(), strict=True))
    np.testing.assert_allclose(lift_sequence(with_lookahead(ahead, False), exact[0]), lift_sequence(model, exact[0]), atol=1e-6)
    np.testing.assert_allclose(lift_sequence(ahead, exact[0], block=1), lift_sequence(model, exact[0]), atol=1e-4)

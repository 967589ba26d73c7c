"""posemoe-edge run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.cli import run_verb
from posemoe_edge.runtime import Model, load, people_finder
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.artefact.manifest import read_manifest, write_manifest
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

Call = Callable[..., Any]
ASSETS = Path(__file__).resolve().parents[3].parent / "shared" / "assets"
MOVENET = ASSETS / "movenet_singlepose_lightning_int8.tflite"
CLIP = ASSETS / "real" / "pose_squats.mp4"


def test_keypoints_from_a_file_go_to_both_sinks(
    run_cli: Call, workdir: Path, retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("matplotlib")
    people = np.stack([walker_keypoints(25, seed=seed) for seed in (0, 1)], axis=1)
    save_keypoints(workdir / "in.npz", keypoints=people, fps=50)
    sinks = ("--sink", "jsonl:out.jsonl", "--sink", "png:out.png")
    result = run_cli("run", "kpts:in.npz", "--model", retention_artefact, *sinks, "--json")
    assert result.code == 0
    report = result.json
    assert (report["frames"], report["people"], report["poses"], report["refused"]) == (25, 2, 50, 0)
    assert (
        report["mode"] == "step"
        and report["precision"] == "fp32"
        and report["certificate"] is None
        and not report["interrupted"]
    )
    assert report["mpjpe_mm"] is None and report["step_ms"]["p50"] > 0
    assert (workdir / "out.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (workdir / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 50
    stream = load(retention_artefact).stream()
    for i, row in enumerate(row for row in rows if row["person"] == 1):
        pose = stream.step(people[i, 1], t=i / 50)
        np.testing.assert_allclose(row["xyz_m"], pose.xyz_m, atol=1.1e-4)  # written to a tenth of a millimetre
        assert row["t_s"] == pytest.approx(i / 50)


def test_a_source_that_knows_the_truth_is_measured_against_it(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("run", "synthetic://walk?people=3&seed=2", "--frames", 10, "--model", retention_artefact, "--json")
    report = result.json
    assert (report["frames"], report["poses"], report["people"]) == (10, 30, 3) and 10 < report["mpjpe_mm"] < 5000
    assert "MPJPE" in result.err and report["state_bytes"] == 95744


def test_refused_frames_are_counted_and_printed(
    run_cli: Call, workdir: Path, retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    keypoints = walker_keypoints(10).copy()
    keypoints[4, 2] = np.nan
    save_keypoints(workdir / "in.npz", keypoints=keypoints)
    result = run_cli("run", "kpts:in.npz", "--model", retention_artefact, "--json")
    assert result.code == 0 and (result.json["frames"], result.json["poses"], result.json["refused"]) == (10, 9, 1)
    assert "person 0 at 0.080 s: frame refused, joint 2" in result.err


def test_a_run_in_which_every_frame_is_refused_says_why_once_and_fails(
    run_cli: Call, workdir: Path, retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    keypoints = walker_keypoints(12).copy()
    keypoints[:, 4, 1] = 300 + np.arange(12)  # one joint of each frame: no unit of the whole file
    save_keypoints(workdir / "in.npz", keypoints=keypoints)
    result = run_cli("run", "kpts:in.npz", "--model", retention_artefact, "--sink", "jsonl:out.jsonl")
    assert result.code == 1 and result.err.count("frame refused") == 1
    assert "12 frames refused for that in all" in result.err and "nothing was lifted" in result.err


def test_times_in_another_unit_are_asked_about_and_fill_no_terminal(
    run_cli: Call,
    workdir: Path,
    retention_artefact: Path,
    walker_keypoints: Callable[..., np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    people = walker_keypoints(60).round(4)
    lines = [json.dumps({"t_s": 20.0 * i, "people": {"0": of.tolist()}, "skeleton": "h36m17"}) for i, of in enumerate(people)]
    (workdir / "ms.jsonl").write_text("\n".join(lines))
    result = run_cli("run", "jsonl:ms.jsonl", "--model", retention_artefact, "--json")
    assert "10 of 10 steps are 20 s long: are these milliseconds?" in caplog.text
    assert result.err.count("person 0 lost") == 20 and "people were lost 59 times in all" in result.err


def test_a_run_that_lifts_its_first_frame_alone_fails(
    run_cli: Call, workdir: Path, retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    one = {"t_s": 0, "people": {"0": walker_keypoints(1)[0].tolist()}, "skeleton": "h36m17"}
    (workdir / "still.jsonl").write_text(f"{json.dumps(one)}\n" * 30)
    result = run_cli("run", "jsonl:still.jsonl", "--model", retention_artefact, "--json")
    assert result.code == 1 and (result.json["poses"], result.json["refused"]) == (1, 29)
    assert "29 frames refused for that in all" in result.err and "hardly anything was lifted" in result.err


@pytest.mark.parametrize("mixer", ["dssm", "attention"])
def test_any_mixer_runs(mixer: str, run_cli: Call, artefact_of: Callable[[str], Path]) -> None:
    report = run_cli("run", "synthetic://walk", "--frames", 12, "--model", artefact_of(mixer), "--json").json
    assert report["poses"] == 12 and report["mode"] == ("window" if mixer == "attention" else "step")


def test_a_standalone_onnx_file_runs(run_cli: Call, retention_artefact: Path) -> None:
    path = retention_artefact / "step.fp16.onnx"
    assert run_cli("run", "synthetic://walk", "--frames", 3, "--model", path, "--json").json["precision"] == "fp16"


def test_poses_may_go_to_stdout_alone(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("run", "synthetic://walk", "--frames", 4, "--model", retention_artefact, "--sink", "jsonl:-")
    assert [json.loads(line)["t_s"] for line in result.out.splitlines()] == [0, 0.02, 0.04, 0.06]
    both = run_cli("run", "synthetic://walk", "--model", retention_artefact, "--sink", "jsonl:-", "--json")
    assert both.code == 2 and both.json["what"] == "--json and --sink jsonl:- both write to stdout"


def test_a_video_without_the_networks_of_the_default_detector_names_the_command_that_fetches_them(
    run_cli: Call, workdir: Path, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(workdir / "cache"))
    (workdir / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    result = run_cli("run", "a.mp4", "--model", retention_artefact, "--json")
    assert result.code == 3 and "pose_detection.tflite" in result.json["what"]
    assert result.json["run"] == "posemoe-edge detectors get blazepose" and not (workdir / "cache").exists()


def test_a_picture_that_is_turned_back_is_lifted_as_the_upright_one(
    run_cli: Call, workdir: Path, retention_artefact: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("ai_edge_litert")
    if not MOVENET.is_file() or not CLIP.is_file():
        pytest.skip("MoveNet's .tflite file and the clips of real people are not beside this checkout")
    _, upright = cv2.VideoCapture(str(CLIP)).read()
    cv2.imwrite("upright.png", upright)
    cv2.imwrite("turned.png", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))
    lines = []
    for source in (["upright.png"], ["turned.png", "--rotate", "90"]):
        detector = ("--detector", f"movenet:{MOVENET}", "--tracker", "order")
        result = run_cli("run", *source, *detector, "--model", retention_artefact, "--sink", "jsonl:-")
        lines.append(result.out.splitlines())
        assert result.code == 0 and len(lines[-1]) == 1
    assert lines[0] == lines[1]


def test_keypoints_cannot_be_turned(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("run", "synthetic://walk", "--rotate", 90, "--model", retention_artefact, "--json")
    assert result.code == 2 and "cannot be turned" in result.json["what"]


def test_a_camera_that_is_not_there_is_named_with_what_works_without(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("run", "camera99", "--model", retention_artefact, "--json")
    assert result.code == 3 and "/dev/video99" in result.json["what"] and "synthetic://walk" in result.json["run"]


def test_an_error_during_a_run_keeps_what_was_lifted_and_leaves_no_partial_files(
    run_cli: Call, workdir: Path, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posemoe_edge.runtime.errors import SourceError
    from posemoe_edge.runtime.sources.synthetic import SyntheticSource

    whole = SyntheticSource.__iter__

    def broken(self: SyntheticSource) -> Any:
        for i, frame in enumerate(whole(self)):
            if i == 5:
                raise SourceError("the camera was unplugged")
            yield frame

    monkeypatch.setattr(SyntheticSource, "__iter__", broken)
    sinks = ("--sink", "jsonl:out.jsonl", "--sink", "png:out.png")
    result = run_cli("run", "synthetic://walk", "--model", retention_artefact, *sinks, "--json")
    assert result.code == 3 and result.json["what"] == "the camera was unplugged"
    assert sorted(path.name for path in workdir.iterdir()) == ["out.jsonl", "out.png"]
    assert (workdir / "out.png").read_bytes().endswith(b"IEND\xaeB`\x82"), "a whole picture"
    assert len((workdir / "out.jsonl").read_text().splitlines()) == 5


def test_an_interrupt_before_the_first_frame_leaves_no_partial_file(
    run_cli: Call, workdir: Path, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(model: Model) -> str:
        assert list(workdir.glob(".out.png.*")), "the sink is open"
        raise KeyboardInterrupt

    monkeypatch.setattr(run_verb, "verdict", interrupt)
    sinks = ("--sink", "jsonl:out.jsonl", "--sink", "png:out.png")
    result = run_cli("run", "synthetic://walk", "--model", retention_artefact, *sinks)
    assert result.code == 130 and not list(workdir.glob("*out*"))


def test_a_shadow_says_how_far_the_poses_are_from_pytorch(run_cli: Call, retention_artefact: Path) -> None:
    run = ("run", "synthetic://walk?people=3&seed=2", "--frames", 60, "--model", retention_artefact, "--json")
    result = run_cli(*run, "--shadow", 1, "--sink", "jsonl:beside.jsonl")
    assert result.code == 0
    report = result.json["shadow"]
    assert (report["frames"], report["fed_frames"], report["over_budget"], report["dropped_spans"]) == (180, 180, 0, 0)
    assert (
        report["drift_mm"]["mean"] < report["drift_mm"]["max"] < 0.02
        and report["budget"]["mean_mm"] == 1
        and report["error"] is None
    )
    assert (
        "shadow: PyTorch lifted 180 of 180 frames too" in result.err
        and "every span within the budget (mean 1, p99 5" in result.err
    )
    alone = run_cli(*run, "--sink", "jsonl:alone.jsonl")
    assert alone.json["shadow"] is None and "shadow" not in alone.err
    assert Path("beside.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
    assert "shadow" not in [thread.name for thread in threading.enumerate()]


def test_a_shadow_is_judged_by_the_budget_of_the_certificate(run_cli: Call, certified_artefact: Path) -> None:
    run = ("run", "synthetic://walk", "--frames", 20, "--model", certified_artefact, "--precision", "fp16", "--json")
    report = run_cli(*run, "--shadow", 0.5).json["shadow"]
    assert (report["frames"], report["over_budget"]) == (20, 0) and report["budget"]["p99_mm"] == 50
    assert 0.02 < report["drift_mm"]["p50"] <= report["drift_mm"]["p95"] <= report["drift_mm"]["p99"]


@pytest.fixture
def strayed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The reference lies half a metre off; set when it has lifted a span."""
    from posemoe_edge.edge.torch_backend.shadow import TorchReference

    lift, done = TorchReference.lift, threading.Event()

    def astray(self: TorchReference, *arguments: Any) -> Any:
        poses, memory = lift(self, *arguments)
        done.set()
        return poses + np.array([0.5, 0, 0], np.float32), memory

    monkeypatch.setattr(TorchReference, "lift", astray)
    return done


@pytest.mark.parametrize(("policy", "code"), [("warn", 0), ("reset", 0), ("fail", 1)])
def test_drift_past_the_budget_is_printed_and_fails_only_with_policy_fail(
    policy: str, code: int, run_cli: Call, workdir: Path, retention_artefact: Path, strayed: threading.Event
) -> None:
    run = ("run", "synthetic://walk", "--frames", 30, "--model", retention_artefact, "--sink", "jsonl:out.jsonl", "--json")
    result = run_cli(*run, "--shadow", 1, "--shadow-policy", policy)
    assert result.code == code and strayed.is_set()
    report = result.json
    assert (report["frames"], report["shadow"]["over_budget"], report["shadow"]["policy"]) == (30, 1, policy)
    assert "Warning: stream 0 drifted from the reference, 0.00 to 0.58 s: mean_mm 500 > 1" in result.err
    assert "1 of 1 span was over the budget (mean 1, p99 5, max 20 mm)" in result.err
    assert len((workdir / "out.jsonl").read_text().splitlines()) == 30
    assert ("Next: posemoe-edge verify" in result.err) == (policy == "fail")


def test_a_run_that_a_check_ends_keeps_what_it_wrote(
    run_cli: Call, workdir: Path, retention_artefact: Path, strayed: threading.Event
) -> None:
    # It runs until it is told to fail, however long that takes here.
    run = ("run", "synthetic://walk", "--model", retention_artefact, "--sink", "jsonl:out.jsonl", "--json")
    result = run_cli(*run, "--shadow", 1, "--shadow-policy", "fail")
    assert result.code == 1 and "Warning: the run ends here: stream 0 drifted from the reference" in result.err
    report = result.json
    assert (
        report["poses"] == report["frames"] >= 100 and report["interrupted"] is False and report["shadow"]["over_budget"] >= 1
    )
    assert len((workdir / "out.jsonl").read_text().splitlines()) == report["frames"]


def test_a_shadow_needs_the_reference_weights(run_cli: Call, copied_artefact: Path) -> None:
    lone = run_cli("run", "synthetic://walk", "--model", copied_artefact / "step.fp32.onnx", "--shadow", 1, "--json")
    assert lone.code == 4 and "a standalone ONNX file" in lone.json["what"] and "posemoe-edge export" in lone.json["run"]
    (copied_artefact / "reference.safetensors").write_bytes(b"others")
    changed = run_cli("run", "synthetic://walk", "--model", copied_artefact, "--shadow", 1, "--json")
    assert changed.code == 4 and "reference.safetensors" in changed.json["what"]
    manifest = read_manifest(copied_artefact)
    files = {name: record for name, record in manifest.files.items() if name != "reference.safetensors"}
    write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
    without = run_cli("run", "synthetic://walk", "--model", copied_artefact, "--shadow", 1, "--json")
    assert without.code == 4 and without.json["what"].endswith("holds no reference weights")
    assert without.json["run"] == "posemoe-edge export tiny-retention"


def test_a_shadow_without_torch_names_the_extra(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "posemoe_edge.edge.torch_backend.shadow", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run_cli("run", "synthetic://walk", "--model", retention_artefact, "--shadow", 1, "--json")
    assert result.code == 3 and result.json["run"] == 'pip install "posemoe-edge[export]"'


@pytest.mark.parametrize("share", ["0", "1.5", "-1", "nan", "much"])
def test_an_invalid_share_is_a_usage_error(share: str, run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("run", "synthetic://walk", "--frames", 3, "--model", retention_artefact, f"--shadow={share}", "--json")
    assert result.code == 2


def test_a_policy_without_a_shadow_and_a_shadow_of_windows_are_usage_errors(
    run_cli: Call, retention_artefact: Path, attention_artefact: Path
) -> None:
    result = run_cli("run", "synthetic://walk", "--model", retention_artefact, "--shadow-policy", "fail", "--json")
    assert result.code == 2 and result.json["expected"] == "--shadow SHARE with it"
    result = run_cli("run", "synthetic://walk", "--model", attention_artefact, "--shadow", 1, "--json")
    assert result.code == 2 and result.json["expected"] == "an artefact of mode step"


@pytest.fixture
def wall(workdir: Path) -> Path:
    """A video of a wall."""
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter("wall.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120))
    for _ in range(4):
        writer.write(np.full((120, 160, 3), 180, np.uint8))
    writer.release()
    return workdir / "wall.mp4"


class Finder:
    """A detector of two stages that finds so many people, wherever it looks."""

    skeleton = COCO17

    def __init__(self, people: int) -> None:
        self.people = people

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        return [Region.whole(image_bgr).moved(30 * i, 0) for i in range(self.people)]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        points = np.random.default_rng(2).uniform(10, 90, (17, 3)).astype(np.float32)
        points[:, 2] = 0.9
        found = [points + np.array([20 * i, 0, 0], np.float32) for i in range(len(regions or []))]
        return [Detection.from_coco(person, size=ImageSize.of(image_bgr)) for person in found]


def test_a_blank_wall_has_nobody_and_claims_no_picture(run_cli: Call, wall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(people_finder, "open_detector", lambda spec: Finder(0))
    sinks = ("--sink", "png:none.png", "--sink", "jsonl:poses.jsonl")
    result = run_cli("run", "wall.mp4", "--tracker", "order", *sinks, "--json")
    assert result.code == 0 and "nobody was seen" in result.err and "none.png" not in result.err
    assert result.json["written"] == ["poses.jsonl"] and not Path("none.png").exists()
    assert (result.json["frames"], result.json["people"], result.json["step_ms"]) == (4, 0, None)


def test_pictures_are_reported_with_the_time_of_every_stage_and_what_shows_them(
    run_cli: Call, wall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_finder, "open_detector", lambda spec: Finder(1))
    result = run_cli("run", "wall.mp4", "--tracker", "order", "--detector", "movenet:a b.tflite", "--json")
    assert result.code == 0 and "movenet:a b.tflite finds the people in wall.mp4, order gives them ids" in result.err
    assert "4 poses of 1 person" in result.err and "frames a second" in result.err
    stages = result.json["stages_ms"]
    assert {"find", "detect", "track", "lift"} <= set(stages) and all(stages[name]["mean"] > 0 for name in stages)
    assert "a frame took" in result.err and "find 0." in result.err
    again = "Next: posemoe-edge run wall.mp4 --detector 'movenet:a b.tflite' --tracker order --sink video:run.mp4"
    assert result.err.rstrip().endswith(again)


def test_a_run_is_written_as_a_video(run_cli: Call, wall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    monkeypatch.setattr(people_finder, "open_detector", lambda spec: Finder(1))
    result = run_cli("run", "wall.mp4", "--tracker", "order", "--sink", "video:run.mp4", "--json")
    assert result.code == 0 and result.json["written"] == ["run.mp4"] and "wrote run.mp4" in result.err
    with av.open("run.mp4") as container:
        times_s = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times_s, [0, 0.1, 0.2, 0.3], atol=1e-3)

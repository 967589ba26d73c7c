"""Common behaviour of all verbs: exit codes, one JSON object, suggestions."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.edge.cli.main import VERBS
from posemoe_edge.runtime import Pipeline, load
from posemoe_edge.runtime.sinks import open_sink

Call = Callable[..., Any]


@pytest.fixture
def things(
    workdir: Path,
    certified_artefact: Path,
    write_motion_file: Callable[..., Path],
    make_walker_clip: Callable[..., Any],
    tiny_presets: None,
    zoo: Path,
    replayed_graphs: None,
    mixste_checkpoint: Path,
) -> dict[str, Path]:
    """ARTEFACT, MOTION, CHECKPOINT and RECORDING of the tables below."""
    splits = ("train", "val", "test", "test")
    clips = [make_walker_clip(f"clip{i}", 40, seed=i, split=split) for i, split in enumerate(splits)]
    recording = workdir.parent / "recording.mcap"
    Pipeline("synthetic://walk", load(certified_artefact), frames=5).run([open_sink(f"mcap:{recording}")])
    motion = write_motion_file(clips)
    return {"ARTEFACT": certified_artefact, "MOTION": motion, "CHECKPOINT": mixste_checkpoint, "RECORDING": recording}


GOOD: dict[str, str] = {
    "demo": "demo --frames 40",
    "doctor": "doctor",
    "models": "models",
    "detectors": "detectors",
    "train": "train tiny-retention --data MOTION --updates 2 --rows 1 --frames 4 --no-compile",
    "eval": "eval ARTEFACT --data MOTION --clips 1",
    "import": "import mixste CHECKPOINT --config num_heads=2",
    "export": "export tiny-retention --untrained --triton models",
    "calibrate": "calibrate ARTEFACT --streams 2 --frames 100 --data MOTION",
    "build": "build ARTEFACT --engine tensorrt-rtx --target sm86",
    "verify": "verify ARTEFACT --frames 40 --streams 2 --mean-mm 50 --p99-mm 90 --max-mm 99 --slope-mm 200 --mpjpe-mm 50",
    "run": "run synthetic://walk --frames 20 --model ARTEFACT",
    "lift": "lift RECORDING --out poses --model ARTEFACT",
    "replay": "replay RECORDING --model ARTEFACT",
    "bench": "bench ARTEFACT --streams 1 --seconds 0",
    "inspect": "inspect ARTEFACT",
    "sign": "sign --new-key robot.key",
    "triton": "triton ARTEFACT --out repository",
    "serve": "serve ARTEFACT --listen 127.0.0.1:0",
}

BAD: list[tuple[str, int, str]] = [
    ("demo --frames 1", 2, "frames"),
    ("demo --data nowhere.npz", 3, "no motion-capture file nowhere.npz"),
    ("detectors get movenet", 2, "nothing to fetch for the detector 'movenet'"),
    ("detectors get blazepose:hevy", 2, "did you mean blazepose:heavy?"),
    ("detectors fetch blazepose", 2, "detectors get NAME"),
    ("train tiny-retentoin --data MOTION", 2, "tiny-retention"),
    ("train tiny-retention --data MOTION --updates 0", 2, "updates"),
    ("train tiny-retention", 2, "--data"),
    ("train tiny-retention --data nowhere.npz", 3, "nowhere.npz"),
    ("train tiny-retention --data ARTEFACT/manifest.json", 4, "a JSON text"),
    ("eval ARTEFACT --data nowhere.npz", 3, "nowhere.npz"),
    ("eval nowhere --data MOTION", 3, "no artefact at nowhere"),
    ("import mixste nowhere.bin", 3, "no checkpoint at nowhere.bin"),
    ("import mixtse CHECKPOINT", 2, "mixste"),
    ("import poseretnet CHECKPOINT", 4, "are those of a mixste, not of a poseretnet"),
    ("import mixste CHECKPOINT --config depth=3", 2, "says depth 3"),
    ("import mixste CHECKPOINT --config depth", 2, "KEY=VALUE"),
    ("import mixste MOTION", 4, "damaged, or holds code"),
    ("export posemoe-retentoin-s", 2, "no preset 'posemoe-retentoin-s'"),
    ("export tiny-dssm", 2, "no shipped weights yet"),
    ("export tiny-dssm --untrained --weights x.safetensors", 2, "one of them"),
    ("export tiny-dssm --weights nowhere.safetensors", 3, "no weights at nowhere.safetensors"),
    ("export tiny-dssm --weights ARTEFACT/reference.safetensors", 2, "weights of tiny-retention"),
    ("export tiny-retention --precision int4", 2, "int4"),
    ("export tiny-retention --untrained --precision int8 --data nowhere.npz", 3, "nowhere.npz"),
    ("export tiny-retention --budget-mm 0", 2, "budget-mm"),
    ("calibrate nowhere", 3, "no artefact at nowhere"),
    ("calibrate ARTEFACT --data nowhere.npz", 3, "nowhere.npz"),
    ("calibrate ARTEFACT --data ARTEFACT/manifest.json", 4, "a JSON text"),
    ("calibrate ARTEFACT --frames 0", 2, "frames"),
    ("calibrate ARTEFACT --frames 40 --streams 1", 2, "at least 100"),
    ("calibrate ARTEFACT --method guess", 2, "guess"),
    ("calibrate ARTEFACT --precision fp16", 2, "fp16"),
    ("calibrate ARTEFACT --budget-mm -1", 2, "budget-mm"),
    ("build nowhere", 3, "no artefact at nowhere"),
    ("build ARTEFACT/step.fp32.onnx", 2, "expected"),
    ("build ARTEFACT --streams 8,4,2", 2, "min <= opt <= max"),
    ("build ARTEFACT --streams 1,2", 2, "e.g. 1,8,32"),
    ("build ARTEFACT --streams none", 2, "e.g. 1,8,32"),
    ("build ARTEFACT --target sm87", 2, "does not build for 'sm87'"),
    ("build ARTEFACT --precision int8 --target sm86", 4, "has no int8 graph"),
    ("verify nowhere", 3, "no artefact at nowhere"),
    ("verify ARTEFACT --data nowhere.npz", 3, "nowhere.npz"),
    ("verify ARTEFACT --streams 0", 2, "streams"),
    ("verify ARTEFACT --engine tensorflow", 2, "no engine 'tensorflow'; did you mean tensorrt?"),
    ("verify ARTEFACT --precision int8", 4, "has no int8 graph"),
    ("verify ARTEFACT --frames 40 --streams 1 --mean-mm 0.000001", 1, "FAILED"),
    ("run synthetic://walk --model nowhere", 3, "no artefact at nowhere"),
    ("run synthetic://walk --model .", 4, "no manifest.json"),
    ("run camera99 --model ARTEFACT", 3, "no camera /dev/video99"),
    ("run nonsense --model ARTEFACT", 2, "no source 'nonsense'"),
    ("run kpts:nowhere.npz --model ARTEFACT", 3, "no file nowhere.npz"),
    ("run synthetic://walk --model ARTEFACT --sink jsno:x", 2, "did you mean jsonl"),
    ("run synthetic://walk --model ARTEFACT --engine tensorflow", 2, "no engine 'tensorflow'; did you mean tensorrt?"),
    ("run synthetic://walk --model ARTEFACT --frames 0", 2, "frames"),
    ("run synthetic://walk --model ARTEFACT --frmaes 3", 2, "--frames"),
    ("run synthetic://walk --server 127.0.0.1:8001", 2, "grpc://HOST:PORT"),
    ("run synthetic://walk --server grpc://127.0.0.1:1 --model ARTEFACT --threads 2", 2, "--server with --model, --threads"),
    ("run", 2, "SOURCE"),
    ("lift nowhere.npz --out poses --model ARTEFACT", 3, "no file or folder nowhere.npz"),
    ("lift synthetic://walk --out poses --model ARTEFACT", 2, "no recording"),
    ("lift RECORDING --model ARTEFACT", 2, "--out"),
    ("lift RECORDING --out poses --format csv", 2, "csv"),
    ("replay nowhere.mcap --model ARTEFACT", 3, "no file nowhere.mcap"),
    ("replay ARTEFACT/manifest.json --model ARTEFACT", 3, "manifest.json"),
    ("replay RECORDING --model nowhere", 3, "no artefact at nowhere"),
    ("inspect nowhere", 3, "no artefact at nowhere"),
    ("inspect ARTEFACT/step.fp32.onnx", 2, "expected"),
    ("sign ARTEFACT", 2, "--key FILE"),
    ("sign ARTEFACT --key nowhere.pem", 3, "no key nowhere.pem"),
    ("sign nowhere --key nowhere.pem", 3, "no artefact at nowhere"),
    ("triton nowhere --out repository", 3, "no artefact at nowhere"),
    ("triton ARTEFACT", 2, "--out"),
    ("serve ARTEFACT --listen 8001", 2, "HOST:PORT"),
    ("serve ARTEFACT --python nowhere", 3, "nowhere does not run"),
    ("serve ARTEFACT --image triton --listen user@host:1", 2, "a user or a password"),
    ("triton ARTEFACT --out nowhere/repository", 3, "mkdir -p nowhere"),
    ("triton ARTEFACT --out repository --batch 0", 2, "batch"),
    ("triton ARTEFACT --out repository --precision int8", 4, "has no int8 graph"),
    ("inspcet", 2, "did you mean inspect?"),
]


def serve_until_terminated(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """In the place of Triton, a program that listens, and ends who started it as a service manager does."""
    program = folder / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport os, signal, socket, sys, time\n"
        "port = next(word for word in sys.argv if word.startswith('--grpc-port=')).partition('=')[2]\n"
        "server = socket.create_server(('127.0.0.1', int(port)))\n"
        "server.accept()\ntime.sleep(0.5)\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_the_tables_contain_every_verb() -> None:
    assert set(GOOD) == set(VERBS) and all(GOOD[verb].split()[0] == verb for verb in VERBS)


@pytest.mark.parametrize("verb", list(VERBS))
def test_each_verb_prints_one_json_object_on_stdout_and_text_on_stderr(
    verb: str, run_cli: Call, things: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb in ("doctor", "run"):
        monkeypatch.setattr("posemoe_edge.edge.cli.doctor_verb.list_cameras", lambda: [])
    if verb == "serve":
        serve_until_terminated(monkeypatch, things["ARTEFACT"].parent)
    result = run_cli(*[str(things.get(word, word)) for word in GOOD[verb].split()], "--json")
    assert result.json and "error" not in result.json
    assert result.code in ((0, 1) if verb == "demo" else (0,)), result.err  # random weights may fail the demo's budget
    if verb == "demo":
        assert ("camera0" in result.err.splitlines()[-1]) == (result.code == 0)  # nobody films with what failed
    assert len(result.err.splitlines()) >= 2
    assert "{" not in result.err


@pytest.mark.parametrize("verb", ["doctor", "models", "eval", "run", "inspect"])
def test_without_json_stdout_is_empty(verb: str, run_cli: Call, things: dict[str, Path]) -> None:
    result = run_cli(*[str(things.get(word, word)) for word in GOOD[verb].split()])
    assert result.code == 0 and result.out == "" and result.err


@pytest.mark.parametrize(("line", "code", "message"), BAD, ids=[row[0] for row in BAD])
def test_errors_are_printed_with_their_exit_code(
    line: str, code: int, message: str, run_cli: Call, things: dict[str, Path]
) -> None:
    words = line.split()
    for thing, path in things.items():
        words = [word.replace(thing, str(path)) for word in words]
    result = run_cli(*words, "--json")
    assert result.code == code, result.err
    assert message in result.err
    if code != 1:
        assert set(result.json) == {"error", "what", "expected", "run", "exit_code"} and result.json["exit_code"] == code
    else:
        assert result.json["passed"] is False  # a failed check is no error: its whole result is printed
    plain = run_cli(*words)
    assert (plain.code, plain.out) == (code, "") and message in plain.err


def test_an_edited_artefact_is_exit_code_4(run_cli: Call, copied_artefact: Path) -> None:
    with (copied_artefact / "step.fp32.onnx").open("ab") as file:
        file.write(b"\0")
    for words in (("run", "synthetic://walk", "--model"), ("inspect",), ("verify",)):
        result = run_cli(*words, copied_artefact, "--json")
        assert result.code == 4 and result.json["error"] == "ArtefactError" and "posemoe-edge export" in result.json["run"]


def test_an_unknown_preset_is_refused_with_the_nearest(run_cli: Call) -> None:
    result = run_cli("export", "posemoe-retention-xs", "--json")
    assert result.code == 2 and result.json["expected"] == "for example posemoe-retention-s"
    assert result.json["run"] == "posemoe-edge models"


def test_help_and_version_are_no_errors(run_cli: Call) -> None:
    for words in (("--help",), ("-h",), ("--version",), *[(verb, "--help") for verb in VERBS]):
        result = run_cli(*words)
        assert result.code == 0 and result.out
    assert all(verb in run_cli("--help").out for verb in VERBS)


def test_the_traceback_needs_verbose(run_cli: Call) -> None:
    assert "Traceback" not in run_cli("inspect", "nowhere").err
    assert "Traceback" in run_cli("inspect", "nowhere", "-v").err


def test_an_interrupt_is_exit_code_130(run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("posemoe_edge.edge.cli.inspect_verb.read_manifest", interrupted)
    result = run_cli("inspect", retention_artefact)
    assert result.code == 130 and "interrupted" in result.err


def test_an_interrupt_is_a_json_object(run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("posemoe_edge.edge.cli.inspect_verb.read_manifest", interrupted)
    assert run_cli("inspect", retention_artefact, "--json").json["exit_code"] == 130


def test_an_unwritable_path_is_an_error(run_cli: Call, things: dict[str, Path], workdir: Path) -> None:
    (workdir / "file").write_text("")
    assert run_cli("export", "tiny-retention", "--untrained", "--out", workdir / "file" / "below", "--json").code in (2, 3)


def test_the_next_command_can_be_pasted(run_cli: Call, things: dict[str, Path]) -> None:
    result = run_cli("inspect", things["ARTEFACT"])
    last = result.err.strip().splitlines()[-1]
    assert last.startswith("Next: posemoe-edge run synthetic://walk --model ")
    assert run_cli(*last.split()[2:], "--frames", "5").code == 0


def test_the_flow_from_training_to_a_run(run_cli: Call, things: dict[str, Path], workdir: Path) -> None:
    """train -> export -> verify -> eval -> run, each with the command that the previous verb printed."""
    assert run_cli(*GOOD["train"].replace("MOTION", str(things["MOTION"])).split(), "--json").code == 0
    result = run_cli("export", "tiny-retention", "--weights", "tiny-retention.safetensors", "--json")
    assert result.code == 0 and result.json["artefact"] == "tiny-retention" and result.json["precisions"] == ["fp32"]
    # The replayed graph has the weights of the shared artefact, not the trained ones: verify must see that.
    assert run_cli("verify", "tiny-retention", "--frames", 40, "--json").code == 1
    refused = run_cli("run", "synthetic://walk", "--frames", 5, "--model", "tiny-retention", "--json")
    assert refused.code == 1 and refused.json["error"] == "CheckFailedError"
    assert run_cli("eval", "tiny-retention", "--data", things["MOTION"], "--clips", 1).code == 1
    allowed = run_cli("run", "synthetic://walk", "--frames", 5, "--model", "tiny-retention", "--allow-failed", "--json")
    assert allowed.code == 0 and allowed.json["certificate"]["passed"] is False


def test_the_default_is_the_shipped_artefact(run_cli: Call, zoo: Path) -> None:
    assert run_cli("run", "synthetic://walk", "--frames", 5, "--json").json["model"] == "tiny-retention"
    assert run_cli("inspect", "--json").json["artefact"] == str(zoo / "frame-retention-s")
    shutil.rmtree(zoo)
    result = run_cli("doctor", "--json")
    assert result.code == 3 and result.json["ready"] is False and "no artefact" in result.json["default_artefact"]["error"]


def test_an_export_can_write_the_models_of_a_triton(run_cli: Call, workdir: Path, things: dict[str, Path]) -> None:
    result = run_cli("export", "tiny-retention", "--untrained", "--triton", "models", "--json")
    assert [model["name"] for model in result.json["triton"]] == ["tiny-retention", "tiny-retention_fp32"]
    assert (workdir / "models" / "tiny-retention_fp32" / "1" / "step.fp32.onnx").is_file()

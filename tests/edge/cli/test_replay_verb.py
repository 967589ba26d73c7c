"""posemoe-edge replay: identical is exit 0, a difference that the certificate does not allow is exit 1."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from posemoe_edge.edge.cli import replay_verb
from posemoe_edge.edge.cli.main import cli
from posemoe_edge.runtime.replay import replay

pytest.importorskip("mcap")
pytest.importorskip("rosbags")


def run(*args: object) -> tuple[int, dict[str, Any], str]:
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


@pytest.fixture
def recording(tmp_path: Path, retention_artefact: Path) -> Path:
    path = tmp_path / "run.mcap"
    options = ["--frames", "20", "--model", retention_artefact, "--sink", f"mcap:{path}"]
    assert run("run", "synthetic://walk?people=2", *options, "--json")[0] == 0
    return path


def test_the_same_model_gives_the_same_poses(recording: Path, retention_artefact: Path, tmp_path: Path) -> None:
    sink = tmp_path / "again.jsonl"
    code, data, err = run("replay", recording, "--model", retention_artefact, "--sink", f"jsonl:{sink}", "--json")
    assert code == 0 and data["identical"] and data["passed"] and data["equal"] == data["poses"] == 40, err
    assert "the same, bit for bit" in err and len(sink.read_text().splitlines()) == 40


def test_verify_judges_an_artefact_by_a_recording_too(recording: Path, retention_artefact: Path) -> None:
    before = sorted(retention_artefact.iterdir())
    code, data, err = run("verify", retention_artefact, "--replay", recording, "--json")
    assert code == 0 and data["identical"] and data["equal"] == data["poses"] == 40, err
    code, data, _ = run("verify", retention_artefact, "--replay", recording, "--precision", "fp16", "--json")
    assert code == 1 and not data["passed"] and sorted(retention_artefact.iterdir()) == before
    for options, named in ((("--frames", 20), "--frames"), (("--mean-mm", 1), "--mean-mm"), (("--data", "x.npz"), "--data")):
        code, data, _ = run("verify", retention_artefact, "--replay", recording, *options, "--json")
        assert code == 2 and named in data["what"]
    code, data, _ = run(
        "verify", retention_artefact, "--replay", recording, "--precision", "fp16", "--precision", "fp32", "--json"
    )
    assert code == 2 and "more than one" in data["what"]


def test_another_precision_without_a_certificate_cannot_pass(recording: Path, retention_artefact: Path) -> None:
    code, data, err = run("replay", recording, "--model", retention_artefact, "--precision", "fp16", "--json")
    assert code == 1 and not data["passed"] and data["first_difference"]["mm"] > 0
    assert "first at 0.000 s, person 0" in err and "posemoe-edge verify" in err


def test_the_recorded_model_is_taken_if_it_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    assert run("run", "synthetic://walk", "--frames", 20, "--sink", f"mcap:{path}", "--json")[0] == 0
    code, data, err = run("replay", path, "--json")
    assert code == 0 and data["identical"] and data["model"] == data["recorded"]["preset"], err


def test_another_precision_is_judged_by_the_certificate(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    assert run("run", "synthetic://walk", "--frames", 20, "--sink", f"mcap:{path}", "--json")[0] == 0
    code, data, err = run("replay", path, "--precision", "fp16", "--json")
    assert code == 0 and data["passed"] and not data["identical"] and "within what the certificate allows" in err


def test_a_replay_that_is_not_finite_is_past_every_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.mcap"
    assert run("run", "synthetic://walk", "--frames", 20, "--sink", f"mcap:{path}", "--json")[0] == 0
    monkeypatch.setattr(replay_verb, "replay", lambda *a, **o: replace(replay(*a, **o), mean_mm=math.nan, max_mm=99.0))
    code, data, err = run("replay", path, "--precision", "fp16", "--json")
    assert code == 1 and not data["passed"]
    assert "more than the certificate allows both runs: mean_mm nan > " in err and "max_mm 99 > " in err


def test_a_recording_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    code, data, _ = run("replay", tmp_path / "none.mcap", "--json")
    assert code == 3 and "no file" in data["what"]

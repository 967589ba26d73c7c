"""posemoe-edge verify: the certificate as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.export import verify as verify_module
from posemoe_edge.runtime import load

LENIENT = ("--mean-mm", 50, "--p99-mm", 90, "--max-mm", 999, "--slope-mm", 999, "--mpjpe-mm", 50)


@pytest.fixture(autouse=True)
def _quick_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "draw_certificate", lambda file, certificate: file.write(b"a plot"))


def test_the_whole_certificate_is_reported(run_cli: Callable[..., Any], copied_artefact: Path) -> None:
    result = run_cli("verify", copied_artefact, "--frames", 260, "--streams", 2, *LENIENT, "--json")
    assert result.code == 0, result.err
    assert "procedural walkers instead of real motion" in result.err and "2 streams of 260 frames" in result.err
    for word in ("per 1,000 frames (95 %)", "MPJPE", "MPJVE", "bone jitter", "outlier", "reset", "gap", "limb missing"):
        assert word in result.err
    assert "a stream in a batch of up to 8, from the same alone: as above, over 20 frames" in result.err
    for precision in ("fp32", "fp16"):
        assert f"PASSED {precision} on onnxruntime-cpu: 260 frames of each stream; too few to measure" in result.err
    assert "--mpjpe-mm" in result.err.partition("the smallest budget it passes")[2]
    certificate = result.json
    assert certificate == load(copied_artefact).certificate.model_dump(mode="json")  # type: ignore[union-attr]
    assert len(certificate["motion"]["streams"]) == 2 and len(certificate["reference_recoveries"]) == 4
    for drift in certificate["drifts"]:
        assert drift["slope"] is None and drift["measured"]["slope_mm_per_1000"] != 0
        assert drift["accuracy"]["mpjpe_mm"] > 0 and len(drift["recoveries"]) == 4


def test_the_smallest_budget_can_be_pasted(run_cli: Callable[..., Any], copied_artefact: Path) -> None:
    first = run_cli("verify", copied_artefact, "--frames", 60, "--streams", 1, "--precision", "fp16", "--max-mm", 0)
    assert first.code == 1 and "FAILED fp16 on onnxruntime-cpu: " in first.err and "PASSED" not in first.err
    tight = first.err.partition("the smallest budget it passes: ")[2].splitlines()[0].split()
    again = run_cli("verify", copied_artefact, "--frames", 60, "--streams", 1, "--precision", "fp16", *tight)
    assert again.code == 0, again.err


def test_one_precision_is_measured_and_the_others_are_reported_too(run_cli: Callable[..., Any], copied_artefact: Path) -> None:
    short = ("--frames", 30, "--streams", 1, *LENIENT, "--json")
    assert [d["precision"] for d in run_cli("verify", copied_artefact, "--precision", "fp16", *short).json["drifts"]] == [
        "fp16"
    ]
    both = run_cli("verify", copied_artefact, "--precision", "fp32", "--precision", "fp32", *short)
    assert [d["precision"] for d in both.json["drifts"]] == ["fp32", "fp16"]
    assert "PASSED fp16 on onnxruntime-cpu" in both.err


def test_a_window_model_has_no_disturbances_to_report(
    run_cli: Callable[..., Any], copy_artefact: Callable[[str], Path]
) -> None:
    result = run_cli("verify", copy_artefact("attention"), "--frames", 30, "--streams", 1, *LENIENT, "--json")
    assert result.code == 0 and "outlier" not in result.err and result.json["reference_recoveries"] == []


def test_inspect_reports_what_verify_reported(run_cli: Callable[..., Any], certified_artefact: Path) -> None:
    result = run_cli("inspect", certified_artefact)
    assert "60 frames of procedural walkers" in result.err and "PASSED fp16 on onnxruntime-cpu" in result.err


@pytest.mark.parametrize(
    ("slope", "low", "high", "says"),
    [
        (6e-6, 4e-6, 9e-6, "no growth that matters: +0.001 mm in an hour"),  # certain, and too small to be seen
        (0.005, 0.002, 0.008, "the drift rises by 0.9 mm in an hour"),
        (-0.005, -0.008, -0.002, "the drift falls by 0.9 mm in an hour"),
        (0.005, -0.002, 0.008, "no measurable growth"),
    ],
)
def test_growth_is_told_by_its_effect(slope: float, low: float, high: float, says: str, certified_artefact: Path) -> None:
    from posemoe_edge.edge.cli.certificate_report import report_certificate
    from posemoe_edge.edge.cli.output import Output
    from posemoe_edge.runtime.artefact.certificate import SlopeInterval, read_certificate
    from posemoe_edge.runtime.artefact.manifest import read_manifest
    from rich.console import Console

    certificate = read_certificate(certified_artefact, read_manifest(certified_artefact))
    assert certificate is not None
    interval = SlopeInterval(low=low, high=high, distinct=low * high > 0)
    measured = certificate.budget.model_copy(update={"slope_mm_per_1000": slope})
    drifts = [
        drift.model_copy(update={"measured": measured, "slope": interval, "passed": True}) for drift in certificate.drifts
    ]
    budget = certificate.budget.model_copy(update={"mean_mm": 1.0})
    console = Console(record=True, width=200)
    changed = certificate.model_copy(update={"drifts": tuple(drifts), "budget": budget})
    report_certificate(Output(as_json=False, verbose=False, console=console), changed)
    assert says in console.export_text()

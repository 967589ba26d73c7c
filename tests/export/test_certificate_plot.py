"""The plot of a certificate, for certificates of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.export import certificate_plot
from posemoe_edge.export.certificate_plot import draw_certificate
from posemoe_edge.runtime.artefact.certificate import (
    CERTIFICATE_SCHEMA,
    Accuracy,
    Budget,
    Certificate,
    Drift,
    MotionSource,
    Recovery,
    SlopeInterval,
    StreamInfo,
)
from posemoe_edge.runtime.plotting import Cell, Lines, Verdict

PNG = b"\x89PNG\r\n"
CPU, GPU = "onnxruntime-cpu", "tensorrt 11.4 sm87"
SIZES = {"fp32": 1e-4, "fp16": 0.2, "int8": 3.0, "mixed": 0.6, "int8w": 0.9}


def recovery(residual_mm: float, *, recovery_frames: int | None = 70) -> Recovery:
    fading = 400 * np.exp(-np.arange(100) / 8) + residual_mm
    return Recovery(
        disturbance="outlier",
        peak_mm=400,
        recovery_frames=recovery_frames,
        frames=497,
        drift_mean_mm=1.0,
        drift_max_mm=2.0,
        distance_mm=tuple(fading.tolist()),
    )


def drift(precision: str, mm: float, engine: str = CPU, *, events: bool = True) -> Drift:
    wave = mm * (1 + 0.2 * np.sin(np.arange(100) / 5))
    measured = Budget(mean_mm=mm, p99_mm=3 * mm, max_mm=9 * mm, slope_mm_per_1000=0.01 * mm, mpjpe_loss_mm=mm / 10)
    return Drift(
        precision=precision,
        engine=engine,
        graph_sha256="0" * 64,
        arithmetic="some",
        frames=3000,
        measured=measured,
        slope=SlopeInterval(low=-0.02 * mm, high=0.04 * mm, distinct=False),
        per_joint_mean_mm={"hip": mm},
        per_joint_max_mm={"hip": mm},
        accuracy=Accuracy(mpjpe_mm=79 + mm / 10, mpjve_mm=9, bone_jitter_mm=3),
        batch_difference=None,
        recoveries=(recovery(mm, recovery_frames=70 if mm < 1 else None),) if events else (),
        drift_curve_mm=tuple(wave.tolist()),
        passed=mm < 1,
        exceeded=(),
        smallest_budget=measured,
    )


def certificate(*drifts: Drift, events: bool = True) -> Certificate:
    rates = ((50, 0.0), (50, 0.2), (25, 0.0), (12.5, 0.0))
    return Certificate(
        schema_version=CERTIFICATE_SCHEMA,
        preset="posemoe-retention-s",
        passed=all(item.passed for item in drifts),
        budget=Budget(mean_mm=1, p99_mm=5, max_mm=20, slope_mm_per_1000=0.1, mpjpe_loss_mm=0.5),
        motion=MotionSource(
            kind="motion capture, projected, with a detector's noise",
            source="motion.npz",
            sha256="0" * 64,
            frames=3000,
            streams=tuple(StreamInfo(fps=fps, lost=lost, clips=("a",)) for fps, lost in rates),
            noisy=True,
            seed=0,
        ),
        reference="PyTorch 2.13.0, float32, CPU",
        reference_sha256="0" * 64,
        reference_accuracy=Accuracy(mpjpe_mm=79, mpjve_mm=9, bone_jitter_mm=3),
        reference_recoveries=(recovery(0.0),) if events else (),
        drifts=drifts,
    )


COMPLETE = certificate(*(drift(precision, mm) for precision, mm in SIZES.items()))
ENGINES = certificate(*(drift("fp16", mm, engine) for engine, mm in ((CPU, 0.2), (GPU, 0.3))))
NAN = float("nan")
BROKEN = certificate(
    drift("fp32", NAN),
    drift("fp16", 0.0).model_copy(update={"slope": None, "accuracy": None}),
)
STATELESS = certificate(drift("fp32", 1e-4, events=False), events=False)


@pytest.mark.parametrize(
    "any_certificate", [COMPLETE, ENGINES, BROKEN, STATELESS], ids=["complete", "engines", "broken", "stateless"]
)
def test_any_certificate_is_drawn_without_warnings(
    any_certificate: Certificate, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    pytest.importorskip("matplotlib")
    draw_certificate(tmp_path / "c.png", any_certificate)
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    assert capfd.readouterr().err == "" and not len(recwarn)


@dataclass
class DrawnPlot:
    """The arguments of ``draw_lines``."""

    lines: list[Lines] = field(default_factory=list)
    heading: str = ""
    verdict: Verdict | None = None
    note: str = ""
    table: list[tuple[Cell, ...]] = field(default_factory=list)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> DrawnPlot:
    """The next plot's arguments; nothing is drawn."""
    plot = DrawnPlot()

    def record(
        path: Path, lines: list[Lines], *, heading: str, verdict: Verdict, note: str, table: list[tuple[Cell, ...]]
    ) -> None:
        plot.lines, plot.heading, plot.verdict, plot.note, plot.table = lines, heading, verdict, note, table

    monkeypatch.setattr(certificate_plot, "draw_lines", record)
    return plot


def test_the_table_has_every_figure_of_every_graph(drawn: DrawnPlot) -> None:
    draw_certificate(Path("nowhere.png"), COMPLETE)
    assert drawn.heading == "posemoe-retention-s: drift certificate" and drawn.verdict == Verdict(False)
    assert "3,000 frames" in drawn.note and "12.5 Hz" in drawn.note
    columns, *rows = drawn.table
    names = [str(column).replace("\n", " ") for column in columns]
    table = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    assert list(table) == list(SIZES)
    assert table["fp16"]["verdict"] == Verdict(True) and table["int8"]["verdict"] == Verdict(False)
    assert [table["fp16"][name] for name in ("mean (mm)", "p99 (mm)", "max (mm)")] == ["0.2", "0.6", "1.8"]
    assert table["fp16"]["growth in 1,000 frames (mm)"] == "+0.002 ± 0.006"
    assert table["fp16"]["MPJPE (mm)"] == "79.00 → 79.02"
    assert table["fp16"]["frames until an outlier is forgotten (PyTorch)"] == "70 (70)"
    assert table["int8"]["frames until an outlier is forgotten (PyTorch)"] == "> 497 (70)"


def test_the_lines_are_the_drift_and_the_recovery_from_an_outlier(drawn: DrawnPlot) -> None:
    draw_certificate(Path("nowhere.png"), ENGINES)
    drift_lines, outlier = drawn.lines
    assert drift_lines.log and outlier.log
    assert list(drift_lines.y) == [f"fp16 {CPU}", f"fp16 {GPU}"] and list(outlier.y) == [*drift_lines.y, "PyTorch"]
    assert drift_lines.limits == {"budget": 1} and outlier.limits == {"recovered": 1}
    x = np.asarray(drift_lines.x)
    assert 0 < x[0] < x[-1] < 3000 and np.asarray(outlier.x)[0] == 0
    distance_mm = np.array(ENGINES.reference_recoveries[0].distance_mm)
    np.testing.assert_allclose(np.asarray(outlier.y["PyTorch"]), distance_mm)


def test_a_model_without_state_has_one_plot(drawn: DrawnPlot) -> None:
    draw_certificate(Path("nowhere.png"), STATELESS)
    assert len(drawn.lines) == 1


def test_a_distance_of_zero_is_drawn_as_a_small_one(drawn: DrawnPlot) -> None:
    """A logarithmic axis has no zero."""
    draw_certificate(Path("nowhere.png"), BROKEN)
    (drift_lines, _) = drawn.lines
    assert (np.asarray(drift_lines.y["fp16"]) == 1e-6).all() and np.isnan(np.asarray(drift_lines.y["fp32"])).all()

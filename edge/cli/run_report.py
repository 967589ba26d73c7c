"""What ``run`` says of a run for people: the model's certificate, the camera, the numbers, the shadow."""

from __future__ import annotations

from typing import Any

from ...runtime.command_line import command_line
from ...runtime.model import Model
from ...runtime.pose.types import Doubt
from ...runtime.run_stats import RunStats
from ...runtime.serving.remote import RemoteModel
from ...runtime.shadow import ShadowReport
from ...runtime.sinks import RunInfo
from .output import Output, counted, megabytes

_DOUBTS: dict[Doubt, str] = {
    "bones": "bones of a length that nobody has, or that the person did not have before",
    "fit": "keypoints that no body fits",
}


def camera_line(run: RunInfo, *, known: bool) -> str:
    """What the camera makes of the run."""
    if not known:
        return "the camera is not known, so there are no positions in metres: --camera FILE or --fov DEGREES"
    sees = {
        "none": "the picture as it is",
        "graph": "each person in a view of its graph",
        "runtime": "each person as a camera that looks at them",
    }
    return f"the camera is known: positions in metres; the lifter sees {sees[run.view_from]}"


def print_stats(out: Output, stats: RunStats, model: Model | RemoteModel) -> None:
    """The numbers of a run."""
    rate = "" if stats.fps is None else f", {stats.fps:.1f} frames a second"
    refused = f", {counted(stats.refused, 'frame')} refused" if stats.refused else ""
    people = counted(stats.people, "person", "people")
    lifted = f"{counted(stats.frames, 'frame')}, {counted(stats.poses, 'pose')} of {people}"
    out.print(f"{lifted} in {stats.seconds:.2f} s{rate}{refused}")
    if stats.dropped:
        out.warn(f"{counted(stats.dropped, 'frame')} dropped because a sink was too slow")
    if stats.frames and not stats.people:
        out.warn("nobody was seen")
    for reason, count in stats.doubts.items():
        if count:
            out.print(f"{count} of {counted(stats.poses, 'pose')} may be no real person: {_DOUBTS[reason]}")
    if len(stats.stages_ms) > 1:
        times = [f"{stage} {of['mean']:.1f}" for stage, of in stats.stages_ms.items()]
        out.print(f"a frame took {sum(of['mean'] for of in stats.stages_ms.values()):.1f} ms on average: {', '.join(times)}")
    if stats.step_ms:
        state = megabytes(model.state_bytes)
        # The frames of a chunk before its last one are only collected: their median says nothing of a launch.
        chunked = model.manifest.mode == "chunk"
        typical = f"{stats.step_ms['mean']:.2f} ms on average" if chunked else f"{stats.step_ms['p50']:.2f} ms (median)"
        out.print(f"a step took {typical}, {stats.step_ms['p99']:.2f} ms (p99); state {state} a person")
    if stats.mpjpe_mm is not None:
        out.print(f"MPJPE against the source's ground truth: {stats.mpjpe_mm:.1f} mm")
    if stats.root_mm is not None:
        out.print(f"positions against the source's ground truth: {stats.root_mm:.0f} mm")


def print_shadow(out: Output, report: ShadowReport) -> None:
    """What a shadow measured."""
    dropped = f", {report.dropped_spans} dropped because PyTorch was too slow" if report.dropped_spans else ""
    out.print(
        f"shadow: PyTorch lifted {report.frames} of {report.fed_frames} frames too, in {counted(report.spans, 'span')}{dropped}"
    )
    if report.drift_mm:
        drifts = ", ".join(f"{name} {mm:.2g}" for name, mm in report.drift_mm.model_dump().items())
        out.print(f"  drift {drifts} mm")
    allowed = f"mean {report.budget.mean_mm:g}, p99 {report.budget.p99_mm:g}, max {report.budget.max_mm:g} mm"
    if report.over_budget:
        resets = f", {report.resets} resets" if report.policy == "reset" else ""
        were = "was" if report.spans == 1 else "were"
        out.warn(f"{report.over_budget} of {counted(report.spans, 'span')} {were} over the budget ({allowed}){resets}")
    elif report.spans:
        out.print(f"  every span within the budget ({allowed})")
    if report.error:
        out.warn(f"the shadow ended before the run: {report.error}")


def certificate_summary(model: Model | RemoteModel) -> dict[str, Any] | None:
    """What a model's certificate says of it, for JSON; None without one here."""
    if isinstance(model, RemoteModel) or model.certificate is None:
        return None
    drift = model.drift
    return {
        "engine": None if drift is None else drift.engine,
        "passed": None if drift is None else drift.passed,
        "mean_mm": None if drift is None else drift.measured.mean_mm,
        "max_mm": None if drift is None else drift.measured.max_mm,
        "motion": model.certificate.motion.kind,
    }


def verdict(model: Model | RemoteModel) -> str:
    """What a model's certificate says of it, in words."""
    if isinstance(model, RemoteModel):
        return "which looked at its certificate"
    drift = model.drift
    if drift is None:
        return f"not certified ({command_line('verify', model.path.parent)})"
    passed = f"{'passed' if drift.passed else 'FAILED'}{'' if drift.engine == model.engine else f' on {drift.engine}'}"
    return f"drift certificate {passed}: {drift.measured.mean_mm:.2g} mm from PyTorch on average"

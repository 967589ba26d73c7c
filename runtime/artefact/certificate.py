"""Certificate: how far an artefact's graphs drift from the PyTorch reference, and the budget by which that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..command_line import command_line
from ..errors import ArtefactError, CheckFailedError
from .manifest import Manifest, read_file
from .migrations import CERTIFICATE_MIGRATIONS
from .record import Record, read_record

CERTIFICATE = "certificate.json"
CERTIFICATE_PLOT = "certificate.png"
CERTIFICATE_SCHEMA = 4
REFERENCE = "reference.safetensors"
REFERENCE_RECORD = "reference.json"


class Budget(Record):
    """The drift that is allowed, in millimetres; or the drift that was measured, in the same terms.

    Args:
        mean_mm, p99_mm, max_mm: over all frames and joints.
        slope_mm_per_1000: growth of the mean drift per 1,000 frames, from a straight line fitted to it.
        mpjpe_loss_mm: by how much the graph's MPJPE exceeds the reference's; None if the true poses are not known, or if the
            budget does not limit it.
    """

    mean_mm: float
    p99_mm: float
    max_mm: float
    slope_mm_per_1000: float
    mpjpe_loss_mm: float | None = None


class SlopeInterval(Record):
    """The 95 % confidence interval of the slope of the drift.

    Args:
        low, high: its ends, in mm per 1,000 frames.
        distinct: whether it does not contain zero.
    """

    low: float
    high: float
    distinct: bool


class Accuracy(Record):
    """Distance of poses from the true ones: see ``runtime.pose.metrics``.

    Args:
        mpjpe_mm: mean distance of the joints.
        mpjve_mm: mean error of the joints' movement from one frame to the next.
        bone_jitter_mm: mean change of the bones' lengths from one frame to the next.
    """

    mpjpe_mm: float
    mpjve_mm: float
    bone_jitter_mm: float


class Recovery(Record):
    """The effect of one disturbance, by comparison with the same motion without it. Distances are means over the joints.

    Args:
        disturbance: its name.
        peak_mm: the largest distance from the undisturbed pose, from the disturbance's first frame on.
        recovery_frames: frames from the disturbance's end until the distance stays below 1 mm; None if it did not within
            ``frames``.
        frames: how many frames there were from the disturbance's end on.
        drift_mean_mm, drift_max_mm: drift from the reference, which was disturbed in the same way, over all joints; None in the
            reference's own record.
        distance_mm: the distance from the disturbance's first frame on, in parts of equal length, the maximum of each; for the
            plot.
    """

    disturbance: str
    peak_mm: float
    recovery_frames: int | None
    frames: int
    drift_mean_mm: float | None
    drift_max_mm: float | None
    distance_mm: tuple[float, ...]


class BatchDifference(Record):
    """How far the poses of streams that share launches stray from those of the same streams alone, on the same graph.

    Args:
        streams: how many share a launch at most.
        frames: of each stream.
        mean_mm, p99_mm, max_mm: over all frames and joints.
    """

    streams: int
    frames: int
    mean_mm: float
    p99_mm: float
    max_mm: float


class Drift(Record):
    """The measured drift of one graph on one engine. Graph and reference each carry their own state.

    Args:
        precision: of the graph.
        engine: what executed the graph, as in ``Model.engine``.
        graph_sha256: of the graph's file.
        arithmetic: how the engine computed, in words.
        frames: of each stream.
        measured: the drift, in the terms of the budget.
        slope: None if there are too few frames.
        per_joint_mean_mm, per_joint_max_mm: by the joint's name.
        sigma_mean_mm, sigma_max_mm: how far the standard deviations of the joints stray from the reference's; None from a
            lifter without them.
        accuracy: None if the true poses are not known.
        batch_difference: None if it was not measured: by an earlier version, or because the engine launches no stream alone.
        recoveries: empty for a window graph, which has no state to recover.
        drift_curve_mm: the mean drift over all streams and joints, in parts of equal length, for the plot.
        passed, exceeded: the verdict, and which terms of the budget were exceeded, in words.
        smallest_budget: the measured values rounded up: a budget that the graph just keeps.
    """

    precision: str
    engine: str
    graph_sha256: str
    arithmetic: str
    frames: int
    measured: Budget
    slope: SlopeInterval | None
    per_joint_mean_mm: dict[str, float]
    per_joint_max_mm: dict[str, float]
    accuracy: Accuracy | None
    batch_difference: BatchDifference | None
    recoveries: tuple[Recovery, ...]
    drift_curve_mm: tuple[float, ...]
    passed: bool
    exceeded: tuple[str, ...]
    smallest_budget: Budget
    sigma_mean_mm: float | None = None
    sigma_max_mm: float | None = None


class StreamInfo(Record):
    """One stream of the motion.

    Args:
        fps: frame rate of its camera.
        lost: share of the frames that are missing.
        clips: ids of the clips that it shows, in order.
    """

    fps: float
    lost: float
    clips: tuple[str, ...]


class MotionSource(Record):
    """The motion that was lifted: where it came from, and how to reproduce it.

    Args:
        kind: motion capture, recorded sequences or procedural walkers, in words.
        source: the file's name, or how the walkers were made.
        sha256: of the data.
        frames: of each stream.
        streams: which motion each stream shows.
        noisy: whether the keypoints have the noise of a detector.
        seed: of the random choices.
    """

    kind: str
    source: str
    sha256: str
    frames: int
    streams: tuple[StreamInfo, ...]
    noisy: bool
    seed: int


class Certificate(Record):
    """The verdict on an artefact, bound to its graphs and its weights by their hashes.

    Args:
        schema_version: of this record.
        preset: the artefact's.
        passed: whether every graph is within the budget on every engine.
        budget: the drift that is allowed.
        motion: what was lifted.
        reference: the PyTorch version and its arithmetic, in words.
        reference_sha256: of ``reference.safetensors``.
        reference_accuracy: PyTorch's own; None if the true poses are not known.
        reference_recoveries: PyTorch's own after each disturbance.
        drifts: one for each graph and engine.
    """

    schema_version: int
    preset: str
    passed: bool
    budget: Budget
    motion: MotionSource
    reference: str
    reference_sha256: str
    reference_accuracy: Accuracy | None
    reference_recoveries: tuple[Recovery, ...]
    drifts: tuple[Drift, ...]

    def drift(self, precision: str, engine: str | None = None) -> Drift | None:
        """The drift at a precision on an engine, or None if it was not measured; engine None is the first that was measured."""
        fitting = (drift for drift in self.drifts if drift.precision == precision)
        return next((drift for drift in fitting if engine in (None, drift.engine)), None)

    def drift_for(self, precision: str, engine: str) -> Drift | None:
        """The drift by which a precision on an engine is to be judged: its own if it was measured, else that of another engine,
        a failed one first; None if there is none."""
        fitting = [drift for drift in self.drifts if drift.precision == precision]
        own = [drift for drift in fitting if drift.engine == engine]
        return min(own or fitting, key=lambda drift: drift.passed, default=None)

    @property
    def by_name(self) -> dict[str, Drift]:
        """The drifts by a name for reports: the precision, followed by the engine if there are several."""
        several = len({drift.engine for drift in self.drifts}) > 1
        return {f"{drift.precision} {drift.engine}" if several else drift.precision: drift for drift in self.drifts}


@dataclass(frozen=True)
class StoredReference:
    """PyTorch weights as they were read: ``weights`` (safetensors), their ``record`` (JSON), and the ``path`` of the former."""

    path: Path
    weights: bytes
    record: bytes


def find_reference(folder: Path, manifest: Manifest) -> StoredReference:
    """An artefact's PyTorch weights and their record, each as the manifest's hash says.

    Raises:
        ArtefactError: the artefact holds none, or they are not what the manifest says.
    """
    if REFERENCE not in manifest.files or REFERENCE_RECORD not in manifest.files:
        run = command_line("export", manifest.preset)
        raise ArtefactError(f"{folder} holds no reference weights", expected=f"{REFERENCE} and {REFERENCE_RECORD}", run=run)
    weights, record = (read_file(folder, manifest, name) for name in (REFERENCE, REFERENCE_RECORD))
    return StoredReference(folder / REFERENCE, weights, record)


def read_certificate(folder: Path, manifest: Manifest) -> Certificate | None:
    """The artefact's certificate, judged anew by its own figures; None if the manifest names none.

    Raises:
        ArtefactError: the file is not what the manifest says, or it certifies other graphs or weights.
    """
    if CERTIFICATE not in manifest.files:
        return None
    path = folder / CERTIFICATE
    run = command_line("verify", folder)
    certificate = rejudged(parse_certificate(read_file(folder, manifest, CERTIFICATE), str(path), run))
    reference = manifest.files.get(REFERENCE)
    if reference and certificate.reference_sha256 != reference.sha256:
        raise ArtefactError(f"{path} certifies another {REFERENCE}", expected="a certificate of this one", run=run)
    for drift in certificate.drifts:
        graph = next((graph for graph in manifest.graphs if graph.precision == drift.precision), None)
        if graph and drift.graph_sha256 != manifest.files[graph.file].sha256:
            raise ArtefactError(f"{path} certifies another {graph.file}", expected="a certificate of this one", run=run)
    return certificate


def failed_certificate(artefact: Path, preset: str, drift: Drift) -> CheckFailedError:
    """The error for a graph whose drift certificate failed, and that is to be run all the same."""
    return CheckFailedError(
        f"{preset} {drift.precision} failed its drift certificate: {', '.join(drift.exceeded)}",
        expected="an artefact within its budget",
        run=f"{command_line('verify', artefact)}, or use --allow-failed",
    )


def rejudged(certificate: Certificate) -> Certificate:
    """The certificate with each verdict computed anew from its figures and its budget; a drift that failed stays failed."""
    drifts = []
    for drift in certificate.drifts:
        reasons = exceeded(drift.measured, certificate.budget)
        if drift.batch_difference:
            reasons += tuple(f"in a batch {reason}" for reason in exceeded(drift.batch_difference, certificate.budget))
        passed = drift.passed and not reasons
        drifts.append(drift.model_copy(update={"passed": passed, "exceeded": reasons or drift.exceeded}))
    return certificate.model_copy(update={"drifts": tuple(drifts), "passed": all(drift.passed for drift in drifts)})


def exceeded(
    measured: Budget | BatchDifference | Mapping[str, float | None], budget: Budget, *, times: float = 1
) -> tuple[str, ...]:
    """The limits that are exceeded, in words; empty if the drift passes. NaN exceeds every limit.

    Args:
        measured: by the budget's names; what is None or not there is not judged.
        times: a factor on every limit of the budget.
    """
    values = vars(measured) if isinstance(measured, Budget | BatchDifference) else measured
    over = []
    for field in Budget.model_fields:
        value, limit = values.get(field), getattr(budget, field)
        if value is not None and limit is not None and not value <= times * limit:
            over.append(f"{field} {value:.4g} > {times * limit:.4g}")
    return tuple(over)


def parse_certificate(text: bytes, place: str, run: str) -> Certificate:
    """A certificate from its JSON.

    Args:
        place: where the text stands, for error messages.
        run: the command that makes a new certificate.
    """
    return read_record(
        Certificate,
        text,
        place=place,
        noun="a certificate",
        version=CERTIFICATE_SCHEMA,
        migrations=CERTIFICATE_MIGRATIONS,
        run=run,
    )

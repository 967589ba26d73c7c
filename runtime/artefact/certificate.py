"""The drift certificate: how far an artefact strays from the PyTorch reference, and by which budget that was judged."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArtefactError
from .manifest import Manifest, check_file
from .migrations import CERTIFICATE_MIGRATIONS
from .record import Record, read_record

CERTIFICATE = "certificate.json"
CERTIFICATE_PLOT = "certificate.png"
CERTIFICATE_SCHEMA = 3
REFERENCE = "reference.safetensors"


class Budget(Record):
    """The drift that is allowed, in millimetres; or what was measured, in the same terms.

    Args:
        mean_mm, p99_mm, max_mm: over all frames and joints.
        slope_mm_per_1000: growth of the mean drift per 1,000 frames, by a straight line through it.
        mpjpe_loss_mm: how much larger the graph's MPJPE is than the reference's; None if the truth is not known, or is not
            asked for.
    """

    mean_mm: float
    p99_mm: float
    max_mm: float
    slope_mm_per_1000: float
    mpjpe_loss_mm: float | None = None


class SlopeInterval(Record):
    """Where the slope lies with 95 % confidence, in mm per 1,000 frames; ``distinct`` if that leaves out zero."""

    low: float
    high: float
    distinct: bool


class Accuracy(Record):
    """How far poses are from the truth: see ``runtime.metrics``. MPJVE and bone jitter are per frame."""

    mpjpe_mm: float
    mpjve_mm: float
    bone_jitter_mm: float


class Recovery(Record):
    """What became of one disturbance, by comparison with the same motion undisturbed. Distances are means of the joints.

    Args:
        disturbance: what happened.
        peak_mm: the farthest from the undisturbed pose, from the event's first frame on.
        recovery_frames: frames from the event's end until the distance stays below 1 mm; None if not within ``frames``.
        frames: how many there were from the event's end on.
        drift_mean_mm, drift_max_mm: from the reference, which met with the same, over all joints; None for the reference.
        distance_mm: from the event's first frame on, in parts of equal length, the farthest of each; for the picture.
    """

    disturbance: str
    peak_mm: float
    recovery_frames: int | None
    frames: int
    drift_mean_mm: float | None
    drift_max_mm: float | None
    distance_mm: tuple[float, ...]


class Drift(Record):
    """The measured drift of one graph on one engine, each side carrying its own state.

    Args:
        engine: what executed the graph, as ``Model.engine`` says it.
        arithmetic: how it computed.
        frames: of each stream.
        slope: None if the frames are too few to tell.
        accuracy: None if the truth is not known.
        recoveries: none of a window graph, which has nothing to forget.
        drift_curve_mm: the mean drift over all streams and joints, in parts of equal length, for the picture.
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
    recoveries: tuple[Recovery, ...]
    drift_curve_mm: tuple[float, ...]
    passed: bool
    exceeded: tuple[str, ...]
    smallest_budget: Budget


class StreamInfo(Record):
    """One stream: a camera of ``fps`` frames per second that loses a share of them, and the clips that it saw, in order."""

    fps: float
    lost: float
    clips: tuple[str, ...]


class MotionSource(Record):
    """What was lifted: where it came from, and how to make it again. ``frames`` are those of each stream."""

    kind: str
    source: str
    sha256: str
    frames: int
    streams: tuple[StreamInfo, ...]
    noisy: bool
    seed: int


class Certificate(Record):
    """The verdict on an artefact, bound to its graphs and its weights by their hashes."""

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
        """The drift at a precision on that engine, if it was measured; None is the first engine that it was measured on."""
        fitting = (drift for drift in self.drifts if drift.precision == precision)
        return next((drift for drift in fitting if engine in (None, drift.engine)), None)

    def drift_for(self, precision: str, engine: str) -> Drift | None:
        """What is known of a precision on an engine: what was measured there, else on any other one, a failure before all."""
        fitting = [drift for drift in self.drifts if drift.precision == precision]
        own = [drift for drift in fitting if drift.engine == engine]
        return min(own or fitting, key=lambda drift: drift.passed, default=None)

    @property
    def by_name(self) -> dict[str, Drift]:
        """The drifts by what to call them: the precision, and the engine too if there are several."""
        several = len({drift.engine for drift in self.drifts}) > 1
        return {f"{drift.precision} {drift.engine}" if several else drift.precision: drift for drift in self.drifts}


def find_reference(folder: Path, manifest: Manifest) -> Path:
    """The PyTorch weights of an artefact, if it holds them and they are what the manifest says."""
    if REFERENCE not in manifest.files:
        run = f"posemoe-edge export {manifest.preset}"
        raise ArtefactError(f"{folder} holds no reference weights", expected=REFERENCE, run=run)
    return check_file(folder, manifest, REFERENCE)


def read_certificate(folder: Path, manifest: Manifest) -> Certificate | None:
    """The artefact's certificate, None if the manifest names none; it must speak of the graphs that are there."""
    if CERTIFICATE not in manifest.files:
        return None
    path = check_file(folder, manifest, CERTIFICATE)
    again = f"posemoe-edge verify {folder}"
    certificate = parse_certificate(path.read_bytes(), str(path), again)
    reference = manifest.files.get(REFERENCE)
    if reference and certificate.reference_sha256 != reference.sha256:
        raise ArtefactError(f"{path} speaks of another {REFERENCE}", expected="a certificate of this one", run=again)
    for drift in certificate.drifts:
        graph = next((graph for graph in manifest.graphs if graph.precision == drift.precision), None)
        if graph and drift.graph_sha256 != manifest.files[graph.file].sha256:
            raise ArtefactError(f"{path} speaks of another {graph.file}", expected="a certificate of this one", run=again)
    return certificate


def parse_certificate(text: bytes, place: str, again: str) -> Certificate:
    """A certificate from its JSON. ``again`` is the command that makes a new one."""
    return read_record(
        Certificate,
        text,
        place=place,
        noun="a certificate",
        version=CERTIFICATE_SCHEMA,
        migrations=CERTIFICATE_MIGRATIONS,
        run=again,
    )

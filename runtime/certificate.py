"""The drift certificate: how far an artefact strays from the PyTorch reference, and by which budget that was judged."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from .errors import ArtefactError
from .manifest import Manifest, Strict, check_file

CERTIFICATE = "certificate.json"
CERTIFICATE_PLOT = "certificate.png"
CERTIFICATE_SCHEMA = 1
REFERENCE = "reference.safetensors"


class Budget(Strict):
    """The drift that is allowed, in millimetres.

    Args:
        mean_mm, p99_mm, max_mm: over all frames and joints.
        slope_mm_per_1000: growth of the mean drift per 1,000 frames, by a straight line through it.
    """

    mean_mm: float
    p99_mm: float
    max_mm: float
    slope_mm_per_1000: float


class Drift(Strict):
    """The measured drift of one graph, each side carrying its own state."""

    precision: str
    graph_sha256: str
    arithmetic: str
    frames: int
    measured: Budget
    per_joint_mean_mm: dict[str, float]
    per_joint_max_mm: dict[str, float]
    passed: bool
    exceeded: tuple[str, ...]
    smallest_budget: Budget


class Motion(Strict):
    """What was lifted: where it came from, and how to make it again."""

    kind: str
    source: str
    sha256: str
    clips: tuple[str, ...]
    frames: int
    fps: float
    noisy: bool
    seed: int


class Certificate(Strict):
    """The verdict on an artefact, bound to its graphs and its weights by their hashes."""

    schema_version: int
    preset: str
    passed: bool
    budget: Budget
    motion: Motion
    reference: str
    reference_sha256: str
    drifts: tuple[Drift, ...]

    def drift(self, precision: str) -> Drift | None:
        """The drift at a precision, if it was measured."""
        return next((drift for drift in self.drifts if drift.precision == precision), None)


def read_certificate(folder: Path, manifest: Manifest) -> Certificate | None:
    """The artefact's certificate, None if the manifest names none; it must speak of the graphs that are there."""
    if CERTIFICATE not in manifest.files:
        return None
    path = check_file(folder, manifest, CERTIFICATE)
    again = f"posemoe-edge verify {folder}"
    try:
        certificate = Certificate.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtefactError(f"{path} is not a certificate: {error}", expected="what verify wrote", run=again) from error
    if certificate.schema_version != CERTIFICATE_SCHEMA:
        raise ArtefactError(
            f"{path} has schema_version {certificate.schema_version}", expected=str(CERTIFICATE_SCHEMA), run=again
        )
    reference = manifest.files.get(REFERENCE)
    if reference and certificate.reference_sha256 != reference.sha256:
        raise ArtefactError(f"{path} speaks of another {REFERENCE}", expected="a certificate of this one", run=again)
    for graph in manifest.graphs:
        drift = certificate.drift(graph.precision)
        if drift and drift.graph_sha256 != manifest.files[graph.file].sha256:
            raise ArtefactError(f"{path} speaks of another {graph.file}", expected="a certificate of this one", run=again)
    return certificate

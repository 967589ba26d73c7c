"""The verdict on drifts: those just measured, and those of an earlier certificate that still hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..runtime.artefact.certificate import CERTIFICATE, Certificate, Drift, parse_certificate, rejudged
from ..runtime.artefact.manifest import Manifest, read_file
from ..runtime.artefact.precision import PRECISIONS
from ..runtime.errors import ArtefactError
from .drift import CPU_ENGINE_NAME


def earlier_drifts(folder: Path, manifest: Manifest, certificate: Certificate, measured: Sequence[Drift]) -> list[Drift]:
    """The drifts of the artefact's earlier certificate on other engines or of other graphs, if they still hold.

    They hold if they were measured on the same motion, against the same weights, and of graphs that the artefact still has.

    Args:
        certificate: the new one, for its motion and its weights.
        measured: what was just measured, and is not taken from the earlier certificate.
    """
    if CERTIFICATE not in manifest.files:
        return []
    try:
        text = read_file(folder, manifest, CERTIFICATE)
        earlier = parse_certificate(text, str(folder / CERTIFICATE), "posemoe-edge verify")
    except ArtefactError:
        return []
    if (earlier.motion, earlier.reference_sha256) != (certificate.motion, certificate.reference_sha256):
        return []
    graphs = {(graph.precision, manifest.files[graph.file].sha256) for graph in manifest.graphs}
    replaced = {(drift.precision, drift.engine) for drift in measured}
    return [
        drift
        for drift in earlier.drifts
        if (drift.precision, drift.graph_sha256) in graphs and (drift.precision, drift.engine) not in replaced
    ]


def judge(certificate: Certificate, drifts: Sequence[Drift]) -> Certificate:
    """The certificate with these drifts, each judged by its budget; by precision, and the CPU engine first."""
    order: list[str] = list(PRECISIONS)
    ordered = sorted(drifts, key=lambda drift: (order.index(drift.precision), drift.engine != CPU_ENGINE_NAME, drift.engine))
    unjudged = (drift.model_copy(update={"passed": True, "exceeded": ()}) for drift in ordered)
    return rejudged(certificate.model_copy(update={"drifts": tuple(unjudged)}))

"""Migrations: each turns the JSON of one schema into the next. ``docs/reference/schema-history.md`` lists what changed."""

from __future__ import annotations

from .record import Json, Migration


def rename(record: Json, old: str, new: str) -> None:
    """Rename a field in place, at its position; a record that lacks it stays as it is.

    >>> record = {"course_mm": [0.1], "passed": True}
    >>> rename(record, "course_mm", "drift_curve_mm")
    >>> record
    {'drift_curve_mm': [0.1], 'passed': True}
    """
    items = [(new if key == old else key, value) for key, value in record.items()]
    record.clear()
    record.update(items)


def manifest_from_1(manifest: Json) -> Json:
    """Schema 1 to 2: a graph's ``fp32_islands`` is now ``fp32_nodes``; ``passes`` is new, and empty."""
    for graph in manifest["graphs"]:
        rename(graph, "fp32_islands", "fp32_nodes")
        graph["passes"] = []
    return {**manifest, "schema_version": 2}


def manifest_from_2(manifest: Json) -> Json:
    """Schema 2 to 3: ``view`` is new; lifters saw the picture as it is, and so keypoints are normalised by its size."""
    return {**manifest, "view": "image", "schema_version": 3}


def certificate_from_2(certificate: Json) -> Json:
    """Schema 2 to 3: ``course_mm`` is now ``drift_curve_mm``; in recoveries, ``event`` is now ``disturbance`` and
    ``forgotten_after`` is now ``recovery_frames``."""
    recoveries = list(certificate["reference_recoveries"])
    for drift in certificate["drifts"]:
        rename(drift, "course_mm", "drift_curve_mm")
        recoveries += drift["recoveries"]
    for recovery in recoveries:
        rename(recovery, "event", "disturbance")
        rename(recovery, "forgotten_after", "recovery_frames")
    return {**certificate, "schema_version": 3}


def certificate_from_3(certificate: Json) -> Json:
    """Schema 3 to 4: ``batch_difference`` is new, and was not measured."""
    drifts = [{**drift, "batch_difference": None} for drift in certificate["drifts"]]
    return {**certificate, "drifts": drifts, "schema_version": 4}


MANIFEST_MIGRATIONS: dict[int, Migration] = {1: manifest_from_1, 2: manifest_from_2}
CERTIFICATE_MIGRATIONS: dict[int, Migration] = {2: certificate_from_2, 3: certificate_from_3}

"""A snapshot as bytes: another process goes on from it with the same poses."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, Snapshot, Stream, load
from posemoe_edge.runtime.arrays import F32

Walk = Callable[..., F32]
DT_S = 0.02


def lift(stream: Stream, frames: F32, start: int) -> list[bytes]:
    return [stream.step(frame, t=(start + i) * DT_S).xyz_m.tobytes() for i, frame in enumerate(frames)]


@pytest.mark.parametrize("mixer", ["retention", "dssm", "attention"])
def test_a_stream_goes_on_from_bytes_with_the_same_poses(
    artefact_of: Callable[[str], Path], walker_keypoints: Walk, mixer: str
) -> None:
    frames = walker_keypoints(30)
    stream, other = load(artefact_of(mixer)).stream(), load(artefact_of(mixer)).stream()
    lift(stream, frames[:20], 0)
    data = stream.snapshot().to_bytes()
    expected = lift(stream, frames[20:], 20)
    other.restore(Snapshot.from_bytes(data))
    assert lift(other, frames[20:], 20) == expected
    assert lift(load(artefact_of(mixer)).stream(), frames[20:], 20) != expected


def test_a_held_pose_is_kept_too(retention_artefact: Path, walker_keypoints: Walk) -> None:
    nobody = np.zeros((17, 3), np.float32)
    stream, other = load(retention_artefact).stream(), load(retention_artefact).stream()
    lift(stream, walker_keypoints(5), 0)
    stream.step(nobody, t=5 * DT_S)
    other.restore(Snapshot.from_bytes(stream.snapshot().to_bytes()))
    a, b = (s.step(nobody, t=6 * DT_S) for s in (stream, other))
    assert a.gap == b.gap == "hold" and a.dt_s == b.dt_s and a.xyz_m.tobytes() == b.xyz_m.tobytes()


def test_a_stream_that_was_never_fed_has_a_snapshot(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    again = Snapshot.from_bytes(model.stream().snapshot().to_bytes())
    assert again.history.last_s is None and again.history.lifted is None and again.history.fed == ()
    stream = model.stream()
    stream.restore(again)
    assert lift(stream, walker_keypoints(2), 0) == lift(model.stream(), walker_keypoints(2), 0)


def changed(data: bytes, **entries: object) -> bytes:
    """The bytes with some entries replaced."""
    with np.load(io.BytesIO(data)) as old:
        new = {name: old[name] for name in old.files} | {name: np.array(value) for name, value in entries.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **new)
    return buffer.getvalue()


def test_other_bytes_are_refused(retention_artefact: Path) -> None:
    data = load(retention_artefact).stream().snapshot().to_bytes()
    for wrong in (b"", b"text", data[:100], data[:-30]):
        with pytest.raises(ArtefactError, match="no snapshot"):
            Snapshot.from_bytes(wrong)
    with pytest.raises(ArtefactError, match="version 2"):
        Snapshot.from_bytes(changed(data, version=2))

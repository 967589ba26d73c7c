"""What an actor on a Ray cluster returns, and what is said without one. ``tests/real`` has a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from posemoe_edge import __version__
from posemoe_edge.runtime.archive import ray_workers
from posemoe_edge.runtime.archive.clip_lifter import Job, LiftOptions
from posemoe_edge.runtime.errors import ArtefactError, MissingError, PoseEdgeError


@pytest.fixture(autouse=True)
def stdout_as_before() -> Iterator[None]:
    """An actor gives its process's stdout away."""
    own = os.dup(1)
    yield
    os.dup2(own, 1)
    os.close(own)


@pytest.fixture
def row(write_clip: Callable[..., Path], job_for: Callable[..., Job], tmp_path: Path) -> dict[str, str]:
    """A clip, as it is handed to an actor."""
    job = job_for(write_clip(tmp_path / "a.npz"), tmp_path / "out" / "a.npz.poses.npz")
    return {"job": json.dumps(asdict(job), default=str)}


def test_an_actor_lifts_a_clip_and_counts_no_attempt_that_ended(
    options: LiftOptions, row: dict[str, str], tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()
    outcome = ray_workers._received(ray_workers._Lift(options, str(attempts), __version__)(row))
    assert outcome.failure is None and outcome.poses == 12 and outcome.target.is_file() and outcome.warnings == ()
    assert not list(attempts.iterdir())


def test_a_clip_that_killed_two_actors_is_not_tried_a_third_time(
    options: LiftOptions, row: dict[str, str], tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()
    actor = ray_workers._Lift(options, str(attempts), __version__)
    name = hashlib.sha256(json.loads(row["job"])["source"].encode()).hexdigest()
    (attempts / name).write_bytes(b"xx")
    outcome = ray_workers._received(actor(row))
    assert outcome.failure is not None and "died, twice" in str(outcome.failure["what"]) and not outcome.target.exists()
    (attempts / name).write_bytes(b"x")
    assert ray_workers._received(actor(row)).failure is None


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("version", ArtefactError, "it has posemoe-edge"),
        ("folder", MissingError, "it does not see the folder"),
        ("model", MissingError, "no artefact at /nowhere"),
    ],
)
def test_what_is_wrong_with_a_machine_ends_the_work_and_names_it(
    change: str, kind: type[PoseEdgeError], message: str, options: LiftOptions, row: dict[str, str], tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    if change != "folder":
        attempts.mkdir()
    if change == "model":
        options = replace(options, model="/nowhere")
    actor = ray_workers._Lift(options, str(attempts), "0.0.1" if change == "version" else __version__)
    with pytest.raises(kind, match=f"the machine .*: .*{message}"):
        ray_workers._received(actor(row))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"pip install \"posemoe-edge\[ray\]\""):
        ray_workers.RayCluster("auto")


def test_a_head_that_does_not_answer_is_said_without_waiting_for_ray() -> None:
    with pytest.raises(MissingError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        ray_workers._check_reachable("127.0.0.1:1")
    ray_workers._check_reachable("auto")

"""What is finished of an archive, and where poses go."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from posemoe_edge.runtime.archive.clip_lifter import ClipLifter, LiftOptions
from posemoe_edge.runtime.archive.clip_search import find_clips
from posemoe_edge.runtime.archive.pending import Pending, find_pending

Lift = Callable[..., Pending]


@pytest.fixture
def lift(options: LiftOptions, tmp_path: Path) -> Lift:
    """lift("a.npz", "b"): the work on these inputs, whose jobs were then lifted into ``out``; options by keyword."""

    def call(*inputs: object, work: bool = True, **changes: object) -> Pending:
        lifter = ClipLifter(replace(options, **changes))  # type: ignore[arg-type]
        made_by = lifter.made_by(pictures=False)
        todo = find_pending(
            find_clips([str(text) for text in inputs]), tmp_path / "out", form="npz", made_by=lambda pictures: (made_by,)
        )
        for job in todo.jobs if work else ():
            assert lifter.lift(job).failure is None
        return todo

    return call


def counts(todo: Pending) -> tuple[int, int, int]:
    return len(todo.jobs), todo.finished, todo.outdated


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npz"))


def test_finished_clips_are_left_alone(lift: Lift, write_clip: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("in/a.npz", "in/b.npz"):
        write_clip(tmp_path / name)
    assert counts(lift(tmp_path / "in" / "a.npz")) == (1, 0, 0)
    assert counts(lift(tmp_path / "in")) == (1, 1, 0)
    assert counts(lift(tmp_path / "in")) == (0, 2, 0)
    assert written(tmp_path / "out") == ["a.npz.poses.npz", "b.npz.poses.npz"]


def test_what_another_model_or_other_options_made_is_made_anew(
    lift: Lift, write_clip: Callable[..., Path], tmp_path: Path, dssm_artefact: Path
) -> None:
    clip = write_clip(tmp_path / "a.npz")
    lift(clip)
    changes: tuple[dict[str, object], ...] = (
        {"model": str(dssm_artefact)},
        {"precision": "fp16"},
        {"flip": True},
        {"smooth": "light"},
        {"hold_s": 0.1},
        {"frames": 5},
    )
    for change in changes:
        assert counts(lift(clip, work=False, **change)) == (1, 0, 1)
    assert counts(lift(clip, **changes[2])) == (1, 0, 1)
    assert counts(lift(clip, **changes[2])) == (0, 1, 0)


def test_a_clip_that_has_changed_is_lifted_again(lift: Lift, write_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.npz")
    lift(clip)
    write_clip(clip, frames=20)
    assert counts(lift(clip)) == (1, 0, 1)
    os.utime(clip, ns=(0, 0))
    assert counts(lift(clip)) == (1, 0, 1)


def test_what_is_damaged_or_unfinished_is_lifted_again(lift: Lift, write_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.npz")
    (job,) = lift(clip).jobs
    job.target.write_bytes(job.target.read_bytes()[:-30])
    (tmp_path / "out" / ".a.npz.poses.npz.x.part").write_bytes(b"of a process that was killed")
    assert counts(lift(clip)) == (1, 0, 0)
    assert counts(lift(clip)) == (0, 1, 0) and not list((tmp_path / "out").glob(".*"))


def test_clips_of_one_name_have_files_of_their_own(lift: Lift, write_clip: Callable[..., Path], tmp_path: Path) -> None:
    one, two = (write_clip(tmp_path / name / "walk.npz") for name in "ab")
    first = lift(one, two)
    assert len({job.target for job in first.jobs}) == 2 == len(written(tmp_path / "out"))
    for inputs in ((one,), (two,), (two, one)):
        assert counts(lift(*inputs)) == (0, len(inputs), 0)


def test_a_clip_of_a_later_call_does_not_replace_one_of_the_same_name(
    lift: Lift, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = (write_clip(tmp_path / name / "walk.npz") for name in "ab")
    lift(one)
    assert counts(lift(two)) == (1, 0, 0)
    assert counts(lift(two, one)) == (0, 2, 0)
    assert len(written(tmp_path / "out")) == 2 and "walk.npz.poses.npz" in written(tmp_path / "out")


def test_a_video_and_its_keypoints_do_not_collide(tmp_path: Path) -> None:
    for name in ("walk.npz", "walk.mp4"):
        (tmp_path / name).write_bytes(b"x")
    todo = find_pending(find_clips([str(tmp_path)]), tmp_path / "out", form="parquet", made_by=lambda pictures: ())
    assert [job.target.name for job in todo.jobs] == ["walk.mp4.poses.parquet", "walk.npz.poses.parquet"]
    assert not (tmp_path / "out").exists()


def test_poses_in_the_folder_of_the_clips_are_no_clips_of_the_next_call(
    lift: Lift, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    write_clip(tmp_path / "a.npz")
    lift(tmp_path)
    assert counts(lift(tmp_path)) == (0, 1, 0)

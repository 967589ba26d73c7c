"""The share of the data that each process trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from posemoe_edge.edge.training.distributed import load_together, own_share, shares


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_clip_is_in_one_share_and_shares_are_of_one_size(count: int, make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip(f"clip{n}", frames) for n, frames in enumerate((60, 12, 12, 12, 12, 12, 30, 30))]
    parts = shares(clips, count)
    assert sorted(clip.id for part in parts for clip in part) == [clip.id for clip in clips]
    sizes = [sum(map(len, part)) for part in parts]
    assert max(sizes) - min(sizes) <= 12
    assert all([clip.id for clip in part] == sorted(clip.id for clip in part) for part in parts)


def test_fewer_clips_than_processes_are_everybodys(make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip("a", 12)]
    assert shares(clips, 3) == [clips, clips, clips]


def test_one_process_has_everything_and_resumes_what_it_finds(make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip("a", 12), make_walker_clip("b", 12)]
    assert own_share(clips) == clips and load_together(lambda: None) is None

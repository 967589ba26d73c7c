"""The share of the data that each process trains on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


TWO_PROCESSES = """
import json, sys, time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
import torch.distributed as dist
from posemoe_edge.edge.training.distributed import load_together

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
store = f"file://{folder}/store"
dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
resumed = []
for case, updates in enumerate(json.loads(sys.argv[3])):
    def load():
        mark = folder / f"case{case}"
        if rank == 0:
            time.sleep(0.1)
            mark.touch()
        assert mark.exists(), "the second process looked before the first had"
        found = updates[rank]
        return None if found is None else (f"weights of process {rank}", SimpleNamespace(updates=found))
    saved = load_together(load)
    resumed.append(None if saved is None else [saved[0], saved[1].updates])
print(json.dumps(resumed))
"""


def test_two_processes_resume_the_newest_training_that_either_finds(tmp_path: Path) -> None:
    """As when a process comes back on another machine, whose disk has an older training or none."""
    found = [[None, None], [None, 7], [7, None], [5, 7], [7, 5], [7, 7]]
    commands = [[sys.executable, "-c", TWO_PROCESSES, str(rank), str(tmp_path), json.dumps(found)] for rank in range(2)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for command in commands
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    first, second = (json.loads(out) for out, _ in answers)
    of_first, of_second = "weights of process 0", "weights of process 1"
    assert first == [None, [of_second, 7], [of_first, 7], [of_second, 7], [of_first, 7], [of_first, 7]]
    assert second == [*first[:-1], [of_second, 7]]  # where both are as new, each keeps its own, which is the same

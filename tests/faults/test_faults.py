"""A kill and a full disk at a sample of the operations of everything that writes; `benchmarks/faults.py` tries all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "faults.py"
SAMPLE = 2  # operations of each writer and kind: one in the middle, and the last


def test_after_a_fault_the_old_or_the_new_is_there_and_the_next_writing_succeeds(
    artefact_of: Callable[[str], Path], tmp_path: Path
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler, which builds the interposer")
    artefacts = [str(artefact_of(kind)) for kind in ("retention", "dssm")]
    command = [sys.executable, str(BENCHMARK), "--artefacts", *artefacts, "--sample", str(SAMPLE), "--json"]
    process = subprocess.run([*command, str(tmp_path / "faults.json")], capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stdout + process.stderr
    outcomes = json.loads((tmp_path / "faults.json").read_text())
    assert len({outcome["writer"] for outcome in outcomes}) >= 31
    for kind in ("kill", "full disk"):  # the faults did happen: most of them leave what was there before, or a part
        found = [outcome["found"] for outcome in outcomes if outcome["kind"] == kind]
        assert found.count("before") + found.count("part") > len(found) / 3 and {"before", "part", "after"} == set(found)

"""Broken inputs of every parser: nothing but an error of this package comes out; ``benchmarks/fuzz.py`` runs 100,000."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INPUTS = 2000


def test_two_thousand_broken_inputs_end_in_errors_of_this_package() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/fuzz.py"), "--inputs", str(INPUTS)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(process.stdout)
    assert process.returncode == 0 and report["wrong"] == {}, process.stderr
    assert report["inputs"] >= INPUTS

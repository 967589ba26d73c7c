"""Frame rates: the error of a streaming model at 50, 25, 12.5 and 6.25 Hz and at irregular times, told the time or not.

After HumMUSS's Figure 5, on motion capture: one model, no training in between; but ours are trained on cameras of 50, 25 and
12.5 Hz and on irregular ones. "without dt" tells the model that every frame came one nominal step after the last. Errors are
those of the frames that a slow camera sees.

Run: python benchmarks/rates.py --data cmu_h36m17.npz [--model ARTEFACT] [--split test] [--clips N] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge.edge.data.mocap import Clip, load_clips
from posemoe_edge.edge.data.takes import Take, make_take
from posemoe_edge.edge.evaluation import evaluate
from posemoe_edge.runtime import load
from posemoe_edge.runtime.picture import Lines, draw_lines

CAMERAS = {"50 Hz": (1, 0.0), "25 Hz": (2, 0.0), "12.5 Hz": (4, 0.0), "6.25 Hz": (8, 0.0), "irregular": (1, 0.6)}
"""(stride, share of frames lost)"""


def filmed(clip: Clip, stride: int, lost: float) -> Take:
    """As ``evaluation_takes``: the camera and the noise follow from the clip's name alone."""
    rng = np.random.default_rng([0, zlib.crc32(clip.id.encode())])
    return make_take(clip, rng, augment=False, noisy=True, masked=False, start=0, stride=stride, drop=lost)


def measure(artefact: str | None, clips: list[Clip]) -> dict[str, Any]:
    model = load(artefact)
    rows = {}
    for name, (stride, lost) in CAMERAS.items():
        takes = [take for take in (filmed(clip, stride, lost) for clip in clips) if len(take) > 1]
        nominal = np.float32(1 / model.manifest.fps)
        timeless = [replace(take, dt_s=np.full_like(take.dt_s, nominal)) for take in takes]
        rows[name] = {
            "frames": sum(map(len, takes)),
            "with_dt_mm": round(evaluate(model, takes)["mpjpe_mm"], 2),
            "without_dt_mm": round(evaluate(model, timeless)["mpjpe_mm"], 2),
        }
        print(f"{name:>10}: {rows[name]['with_dt_mm']:7.2f} mm with dt, {rows[name]['without_dt_mm']:7.2f} mm without")
    return {"model": str(model), "clips": len(clips), "noise": "a detector's", "rates": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    result = measure(options.model, load_clips(options.data, options.split)[: options.clips]) | {"split": options.split}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.plot:
        even = [row for name, row in result["rates"].items() if name != "irregular"]
        y = {f"{how} dt": [row[f"{how}_dt_mm"] for row in even] for how in ("with", "without")}
        x_label = "frames a second, of 50"
        lines = Lines(x=[50, 25, 12.5, 6.25], y=y, title=result["model"], x_label=x_label, y_label="MPJPE (mm)", from_zero=True)
        draw_lines(options.plot, lines)


if __name__ == "__main__":
    main()

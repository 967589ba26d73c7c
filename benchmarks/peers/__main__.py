"""A step of ours beside other ways to lift a live stream, on one processor thread, in one interleaved run.

    ours                  stream.step of the runtime, with all its checks; and the launch alone, without the runtime around it
    the same network      by ONNX Runtime's session.run with numpy arrays, by PyTorch eager, by torch.compile
    ring of keys          our network with causal attention over the last frames instead of its state
    window, same size     our network with attention over a window, lifted anew for each frame, by ONNX Runtime
    published systems     steps, and windows lifted anew for each frame, by ONNX Runtime with random weights
    MediaPipe             its landmark network on one picture, by LiteRT: for the scale alone

Then HumMUSS's comparison by its own definition, H2OT's pruning by measured time, and PoseRetNet's published positions in a long
stream. "over ours" is the median over the rounds of a contestant's time over ours in the same round, p10 and p90 its
percentiles. A slow contestant takes part in fewer rounds. Memory is what a process grows by for the weights and three frames.

Run: python benchmarks/peers [--model ARTEFACT] [--frames 200] [--windows 81,243] [--seconds 300] [--each-s 9] [--no-large]
     [--no-compile] [--no-memory] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that the folder is the package ``peers``, beside experiment.py

import numpy as np
import torch
from experiment import Row, check_outputs, exit_on_error, format_table
from gpu.table import Report, Table, Times, median_ms
from peak_memory import peak_mb
from posemoe_edge.edge.models.cost import count_macs
from posemoe_edge.edge.presets import find_preset

from peers.contestants import EAGER, OURS, WARM_UP, Peer, peers
from peers.figure import draw
from peers.positions import drift

AGES = (0, 1000, 10_000, 30_000, 36_000, 37_000)
LIMIT_GB = 4.0
TARGETS = {EAGER: 3.0, "window of 243, same size": 100.0}  # contestant -> at least so many times our step
PRUNED = (  # whole, pruned, and what the paper's text says of floating-point operations and of frames a second, in percent
    ("mixste-243", "mixste-h2ot-243", -57.4, 87.8),
    ("motionbert-lite-243", "motionbert-lite-h2ot-243", -63.4, 47.6),
)
WINDOW, STEP = "motionbert-lite-243, PyTorch", "hummuss-causal, PyTorch"  # what HumMUSS's paper compares, 16 M weights each


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    report = Report(options.json)
    report.tables["machine"] = {
        "command": ["benchmarks/peers", *sys.argv[1:]],
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "load_before": os.getloadavg()[0],
        "packages": {name: version(name) for name in ("torch", "onnxruntime", "numpy")},
    }
    rows = measure(report, options)
    found = {row["contestant"]: row for row in rows}
    report.tables["targets"] = {"rows": targets(found), "notes": []}
    report.tables["hummuss"] = {
        "rows": hummuss(found),
        "notes": ["the paper: an A100, 32 people; here: one thread, one person"],
    }
    report.tables["h2ot"] = {"rows": h2ot(found), "notes": ["the paper: an RTX 3090"]}
    if options.positions:
        note = "percent of the poses' size, against float64; -: not finite"
        report.tables["positions"] = {"rows": drift(AGES), "notes": [note]}
    report.tables["machine"]["load_after"] = os.getloadavg()[0]
    report.save()
    for name, content in report.tables.items():
        if name != "machine" and content["rows"]:
            print(f"\n{name}\n{format_table(content['rows'])}")
            print("".join(f"Note: {note}\n" for note in content["notes"]), end="")
    if options.plot:
        draw(options.plot, rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="posemoe-retention-s", help="an artefact of mode step, with its reference")
    parser.add_argument("--frames", type=int, default=200, help="rounds, of those that are fast enough")
    parser.add_argument("--windows", type=lambda text: [int(n) for n in text.split(",")], default=[81, 243])
    parser.add_argument("--seconds", type=float, default=300.0, help="time limit of the interleaved run")
    parser.add_argument(
        "--each-s", type=float, default=9.0, help="time limit of one contestant; each runs three rounds at least"
    )
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True, help="published systems at full size")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="torch.compile, which needs a C++ compiler"
    )
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--positions", action=argparse.BooleanOptionalAction, default=True, help="PoseRetNet's long stream")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if min(options.frames, *options.windows) < 2:
        parser.error("--frames and --windows: at least 2 are expected")
    check_outputs(parser, options)
    return options


def measure(report: Report, options: argparse.Namespace) -> list[Row]:
    """Memory, then all contestants in turn; a row for each, in the table ``step``."""
    with tempfile.TemporaryDirectory() as folder:
        missing: list[str] = []
        entries = list(peers(options, Path(folder), missing.append))
        table = Table("step", report, seconds=options.seconds)
        for text in missing:
            table.add_note(text)
        memory: dict[str, float | None] = {}
        for peer in entries:
            if options.memory and peer.memory:
                with table.errors_as_notes(f"memory of {peer.name}"):
                    memory[peer.name] = peak_mb(partial(three_frames, peer), limit_gb=LIMIT_GB)
        contestants = {}
        for peer in entries:
            with table.errors_as_notes(peer.name):
                contestants[peer.name] = peer.make()
        contest = Table("step", report, seconds=options.seconds)  # its time begins now
        contest.content["notes"] += table.content["notes"]
        times = contest.run_in_turns(contestants, rounds=options.frames, warm_up=WARM_UP, each_s=options.each_s)
    for peer in entries:
        if times.get(peer.name):
            contest.add_row(row_of(peer, times[peer.name], times.get(OURS, {}), memory.get(peer.name)))
    rows: list[Row] = contest.content["rows"]
    return rows


def three_frames(peer: Peer) -> Any:
    run = peer.make()
    return lambda: [run(i) for i in range(3)]


def row_of(peer: Peer, times: Times, ours: Times, peak: float | None) -> Row:
    shared = sorted(times.keys() & ours.keys())
    ratios = np.array([times[i] / ours[i] for i in shared])
    p10, middle, p90 = (float(f"{np.quantile(ratios, q):.3g}") for q in (0.1, 0.5, 0.9)) if shared else (None, None, None)
    return {
        "contestant": peer.name,
        "engine": peer.engine,
        "params_m": None if peer.params is None else round(peer.params / 1e6, 2),
        "rounds": len(times),
        "p50_ms": rounded(median_ms(times)),
        "p90_ms": rounded(median_ms(times, 90)),
        "p99_ms": rounded(median_ms(times, 99)),
        "over ours": middle,
        "p10": p10,
        "p90": p90,
        "state_bytes": peer.state_bytes,
        "peak_mb": None if peak is None else round(peak, 1),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


# What papers print, and what was measured.


def targets(found: dict[str, Row]) -> list[Row]:
    """The project's own targets."""
    return [
        {"contestant": name, "at least times ours": least, "measured": (over := found[name]["over ours"]), "met": over >= least}
        for name, least in TARGETS.items()
        if name in found and found[name]["over ours"]
    ]


def hummuss(found: dict[str, Row]) -> list[Row]:
    """Figure 8 of HumMUSS: a window lifted anew for each frame, over a step."""
    pairs = (
        ("MotionBERT's window of 243 / HumMUSS's step", WINDOW, STEP, 11.1, 3.8),
        ("our network as a window of 243 / our step", "window of 243, same size", OURS, None, None),
    )
    return [
        {
            "what": what,
            "time, paper": time_paper,
            "time, here": rounded(found[a]["p50_ms"] / found[b]["p50_ms"]),
            "memory, paper": memory_paper,
            "memory, here": rounded(found[a]["peak_mb"] / found[b]["peak_mb"])
            if found[a]["peak_mb"] and found[b]["peak_mb"]
            else None,
        }
        for what, a, b, time_paper, memory_paper in pairs
        if a in found and b in found
    ]


def h2ot(found: dict[str, Row]) -> list[Row]:
    """Table 3 of H2OT: what pruning saves in products, and in time."""
    rows = []
    for whole, pruned, flops_paper, fps_paper in PRUNED:
        if whole in found and pruned in found:
            a, b = (count_macs(find_preset(name).config, 243).linear for name in (whole, pruned))
            rows.append(
                {
                    "network": whole,
                    "params_m": found[pruned]["params_m"],
                    "gflops": round(2 * a / 1e9, 2),
                    "gflops, pruned": round(2 * b / 1e9, 2),
                    "flops %, paper": flops_paper,
                    "flops %, here": round(100 * (b / a - 1), 1),
                    "fps %, paper": fps_paper,
                    "fps %, here": round(100 * (found[whole]["p50_ms"] / found[pruned]["p50_ms"] - 1), 1),
                }
            )
    return rows


if __name__ == "__main__":
    exit_on_error(main)

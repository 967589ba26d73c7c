"""A kill, and a full disk, at each operation on files of everything that writes: what a reader finds afterwards.

`python benchmarks/faults.py` forks a process for each operation. It is killed before that (of a write a half is done), or its
disk is full from there on. Then what was there before must load, or what was to be written, and the next writing must
succeed and leave nothing behind. Needs a C compiler, for the interposer that counts (tests/faults/interposer.c).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a forked process has no threads of its parent's

import numpy as np
import onnx
import torch
from faulting.outputs import outputs
from faulting.writer import Seen, Writer
from posemoe_edge.calib.quantize import calibrate as calibrate_module
from posemoe_edge.edge.checkpoints import load_checkpoint, load_reference
from posemoe_edge.edge.data.mocap import Clip, load_clips, save_clips
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build, config_from
from posemoe_edge.edge.training.training_file import TrainingHistory, load_training, save_training
from posemoe_edge.export import artefact as export_module
from posemoe_edge.export import verify as verify_module
from posemoe_edge.export.reference import save_reference
from posemoe_edge.runtime import CheckFailedError, MissingError, PoseEdgeError, load
from posemoe_edge.runtime.artefact.certificate import Budget, read_certificate
from posemoe_edge.runtime.artefact.manifest import read_file, read_manifest
from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey, Machine, find_plan, graph_sha256, this_platform, write_plan

INTERPOSER = Path(__file__).parents[1] / "tests" / "faults" / "interposer.c"
KINDS = {"kill": 1, "full disk": 2}  # of interposer.c
KILLED = 137
TINY: dict[str, Any] = {"topology": "moe", "dim": 16, "heads": 2, "layers": 1}
STRICT = Budget(mean_mm=0, p99_mm=0, max_mm=0, slope_mm_per_1000=0)
WIDE = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)


@dataclass(frozen=True)
class Outcome:
    """One fault: at which of how many operations, and what was wrong afterwards; "" if nothing was."""

    writer: str
    kind: str
    at: int
    operations: int
    found: Literal["before", "part", "after", "neither"]
    wrong: str


def lifter(mixer: str, seed: int = 7) -> Lifter:
    """A network of a few weights."""
    torch.manual_seed(seed)
    return build(config_from(TINY | {"mixer": {"kind": mixer, **({"state_size": 4} if mixer == "dssm" else {})}})).eval()


def export_from(source: Path, folder: Path, mixer: str, preset: str) -> None:
    """Export with the graphs of another artefact in place of traced ones, which would take a minute."""
    manifest = read_manifest(source)
    graphs = iter(manifest.graphs)

    def passed(*args: Any) -> Any:
        graph = next(graphs)
        model = onnx.load(str(source / graph.file))
        del model.metadata_props[:]
        return model, graph.passes

    with patched(export_module, trace=lambda *args: None, run_passes=passed):
        export_module.export(
            lifter(mixer),
            folder,
            preset=preset,
            precisions=[graph.precision for graph in manifest.graphs],
            training={"at": preset},
        )


class patched:
    """Functions of a module replaced for a while."""

    def __init__(self, module: Any, **functions: Any) -> None:
        self._module, self._functions = module, functions

    def __enter__(self) -> None:
        self._before = {name: getattr(self._module, name) for name in self._functions}
        vars(self._module).update(self._functions)

    def __exit__(self, *args: object) -> None:
        vars(self._module).update(self._before)


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function's first result, for every later call: long work whose result does not depend on the files' faults."""
    results: list[Any] = []

    def recalled(*args: Any, **options: Any) -> Any:
        if not results:
            results.append(function(*args, **options))
        return results[0]

    return recalled


def see_artefact(folder: Path) -> Seen:
    """What an artefact is to a reader: its preset, its files, and whether it may run. Every file must be what it should be."""
    if not (folder / "manifest.json").is_file():
        return None
    manifest = read_manifest(folder)
    for name in manifest.files:
        read_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
    try:
        load(folder).close()
        runs = True
    except CheckFailedError:
        runs = False
    files = sorted(name for name in manifest.files if not name.endswith(".png"))
    return manifest.preset, files, certificate and certificate.passed, runs


def writers(retention: Path, dssm: Path, scratch: Path) -> list[Writer]:
    """All that write, over what was there before."""
    motion = walker_motion(frames=40, streams=2)
    observed = walker_motion(frames=100, streams=1)
    lift, observe = once(verify_module._lift), once(calibrate_module._observe)

    def verify(folder: Path, budget: Budget) -> None:
        with patched(verify_module, _lift=lift, draw_certificate=lambda plot, certificate: plot.write(b"a plot")):
            verify_module.verify(folder, load_reference, *motion, budget=budget)

    def calibrate(folder: Path) -> None:
        with patched(calibrate_module, _observe=observe):
            calibrate_module.calibrate(folder, *observed)

    def copy(folder: Path) -> None:
        shutil.copytree(retention, folder, dirs_exist_ok=True)

    def key(folder: Path) -> BuildKey:
        manifest = read_manifest(folder)
        graph = manifest.graph("fp32")
        return BuildKey(
            engine="tensorrt",
            version="10.3.0",
            graph=graph.file,
            graph_sha256=graph_sha256(folder, manifest, graph),
            precision="fp32",
            capabilities=("sm87",),
            platform=this_platform(),
            streams=(1, 1, 8),
            flags=(),
        )

    def see_plan(folder: Path) -> Seen:
        manifest = read_manifest(folder)
        machine = Machine(engine="tensorrt", version="10.3.0", capability="sm87", platform=this_platform())
        try:
            return find_plan(folder, manifest, manifest.graph("fp32"), machine=machine).read()
        except MissingError:
            return None

    def build_plan(data: bytes) -> Callable[[Path], object]:
        return lambda folder: write_plan(folder, key(folder), data, seconds=1)

    def prepared_plan(folder: Path) -> None:
        copy(folder)
        build_plan(b"old plan")(folder)

    def save(seed: int) -> Callable[[Path], object]:
        return lambda folder: save_reference(
            folder / "w.safetensors", lifter("retention", seed), preset=f"seed {seed}", training={"seed": seed}
        )

    def see_weights(folder: Path) -> Seen:
        if not (folder / "w.json").is_file():
            return None
        model, record = load_checkpoint(folder / "w.safetensors")
        return record["preset"], float(sum(x.double().sum() for x in model.state_dict().values()))

    def train(updates: int) -> Callable[[Path], object]:
        def write(folder: Path) -> None:
            model = lifter("retention", updates)
            tensors = {f"model.{name}": x for name, x in model.state_dict().items()}
            record = {"recipe": {"rows": 1}, "updates": updates}
            history = TrainingHistory(updates=updates)
            save_training(folder / "w.safetensors", model, tensors, history, preset=f"seed {updates}", record=record)

        return write

    def see_training(folder: Path) -> Seen:
        seen = see_weights(folder)
        if seen is None:
            return None
        copied = Path(shutil.copytree(folder, tempfile.mkdtemp(dir=scratch), dirs_exist_ok=True))  # reading settles
        training = load_training(copied / "w.safetensors", lifter("retention"), {"rows": 1})
        return seen, training and training[1].updates

    def clips(count: int) -> Callable[[Path], object]:
        made = [Clip(f"clip {i}", "s", "walk", "train", True, 50.0, np.zeros((4, 17, 3), np.float32)) for i in range(count)]
        return lambda folder: save_clips(folder / "c.npz", made)

    def see_clips(folder: Path) -> Seen:
        return len(load_clips(folder / "c.npz", "train")) if (folder / "c.npz").is_file() else None

    def failed(folder: Path) -> None:
        copy(folder)
        verify(folder, STRICT)

    def certified(folder: Path) -> None:
        copy(folder)
        verify(folder, WIDE)

    def nothing(folder: Path) -> None: ...

    return [
        Writer("export, new", nothing, lambda f: export_from(retention, f, "retention", "new"), see_artefact),
        Writer(
            "export, over another",
            lambda f: export_from(dssm, f, "dssm", "old"),
            lambda f: export_from(retention, f, "retention", "new"),
            see_artefact,
        ),
        Writer("verify", copy, lambda f: verify(f, WIDE), see_artefact),
        Writer("verify, after it failed", failed, lambda f: verify(f, WIDE), see_artefact),
        Writer("verify, that fails", certified, lambda f: verify(f, STRICT), see_artefact),
        Writer("calibrate", copy, calibrate, see_artefact),
        Writer("build", copy, build_plan(b"new plan"), see_plan),
        Writer("build, again", prepared_plan, build_plan(b"new plan"), see_plan),
        Writer("import weights", nothing, save(1), see_weights),
        Writer("import weights, again", save(1), save(2), see_weights),
        Writer("import bvh, again", clips(1), clips(2), see_clips),
        Writer("train", nothing, train(1), see_training),
        Writer("train, on", train(1), train(2), see_training),
    ]


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a forked process: 0, ``KILLED``, 1 for an error that a user can fix, or 3 for any other."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except (PoseEdgeError, OSError):
            os._exit(1)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def inject(writer: Writer, scratch: Path, sample: int | None) -> list[Outcome]:
    """The outcomes of all faults of a writer, or of a sample of them."""
    library = ctypes.CDLL(None)
    before_folder, after_folder = (Path(tempfile.mkdtemp(dir=scratch)) for _ in range(2))
    writer.prepare(before_folder)
    before = writer.see(before_folder)
    shutil.copytree(before_folder, after_folder, dirs_exist_ok=True)
    writer.write(after_folder)  # in this process, so that long work is done once for all children
    after = writer.see(after_folder)
    assert before != after, f"{writer.name} changes nothing"
    names = {path.relative_to(after_folder) for path in after_folder.rglob("*")}

    outcomes = []
    for kind, code in KINDS.items():
        place = Path(tempfile.mkdtemp(dir=scratch))

        def armed(at: int, code: int = code, place: Path = place) -> int:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(before_folder, place)

            def work() -> None:
                library.interposer_arm(code, at, f"{place}".encode())
                writer.write(place)

            return in_child(work)

        operations = count(writer, before_folder, place, library)
        points = range(1, operations + 1)
        if sample is not None and operations > sample:
            points = [operations * (i + 1) // sample for i in range(sample)]  # type: ignore[assignment]
        for at in points:
            status = armed(at)
            wrong = []
            try:
                seen = writer.see(place)
            except Exception as error:
                seen = repr(error)
            found: Any = "after" if seen == after else "before" if seen == before else "neither"
            if found == "neither" and writer.partly(seen, after, kind == "kill"):
                found = "part"
            if found == "neither":
                wrong.append(f"a reader finds {seen!r}")
            if status not in ((KILLED,) if kind == "kill" else (0, 1)):
                wrong.append(f"exit status {status}")
            litter = {str(path.relative_to(place)) for path in place.rglob("*") if is_litter(path)}
            if kind == "full disk" and status == 1 and litter:
                wrong.append(f"left behind: {sorted(litter)}")
            if in_child(partial(writer.write, place)) or not writer.again(writer.see(place), after):
                wrong.append("the next writing does not succeed")
            if extra := {path.relative_to(place) for path in place.rglob("*")} - names:
                wrong.append(f"the next writing leaves {sorted(map(str, extra))}")
            outcomes.append(Outcome(writer.name, kind, at, operations, found, "; ".join(wrong)))
    return outcomes


def is_litter(path: Path) -> bool:
    return any(part.startswith(".") and part.endswith((".part", ".staged")) for part in path.parts)


def count(writer: Writer, before: Path, place: Path, library: Any) -> int:
    """How many operations a writing without faults has."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(before, place)
    reading, writing = os.pipe()

    def work() -> None:
        library.interposer_arm(0, 0, f"{place}".encode())
        writer.write(place)
        os.write(writing, str(library.interposer_counted()).encode())

    assert in_child(work) == 0, f"{writer.name} does not write"
    counted = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    return counted


def main() -> None:
    """Compile the interposer and start anew with it, or run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--artefacts", type=Path, nargs=2, metavar="DIR", help="a tiny retention and a tiny dssm artefact")
    parser.add_argument("--sample", type=int, help="operations of each kind and writer; default: all")
    parser.add_argument("--only", help="writers whose name begins so")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not hasattr(ctypes.CDLL(None), "interposer_arm"):
        with tempfile.TemporaryDirectory() as built:
            library = Path(built) / "interposer.so"
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", str(INTERPOSER), "-o", str(library), "-ldl"], check=True)
            sys.exit(subprocess.call([sys.executable, *sys.argv], env={**os.environ, "LD_PRELOAD": str(library)}))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        retention, dssm = options.artefacts or (scratch / "retention", scratch / "dssm")
        if not options.artefacts:
            for path, mixer in ((retention, "retention"), (dssm, "dssm")):
                precisions: Any = ("fp32", "fp16") if mixer == "retention" else ("fp32",)
                export_module.export(lifter(mixer), path, preset=mixer, precisions=precisions)
        outcomes = []
        for writer in [*writers(retention, dssm, scratch), *outputs(retention, scratch)]:
            if not writer.name.startswith(options.only or ""):
                continue
            started = time.monotonic()
            outcomes += (rows := inject(writer, scratch, options.sample))
            wrong = [row for row in rows if row.wrong]
            print(
                f"{writer.name:<26}{rows[0].operations:>4} operations {len(rows):>4} faults {len(wrong):>3} wrong "
                f"{sum(row.found == 'before' for row in rows):>4} before {sum(row.found == 'part' for row in rows):>4} part "
                f"{sum(row.found == 'after' for row in rows):>4} after "
                f"{time.monotonic() - started:6.1f} s",
                flush=True,
            )
            for row in wrong:
                print(f"  {row.kind} at {row.at}: {row.wrong}")
        if options.json:
            options.json.write_text(json.dumps([vars(row) for row in outcomes], indent=1))
        sys.exit(any(row.wrong for row in outcomes))


if __name__ == "__main__":
    main()

"""Small artefacts with seeded random weights, exported once for all tests and all xdist workers.

Nobody writes into them: a test that changes one takes ``copied_artefact`` or ``copy_artefact``.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The workers are as many as the cores: threads of their own would only wait for each other. Before numpy and torch come in.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

if TYPE_CHECKING:
    from posemoe_edge.edge.data.mocap import Clip
    from posemoe_edge.edge.models.lifter import Lifter
    from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey

# An export makes millions of objects, beside those that PyTorch has: a tenth of the time went into looking at them.
gc.set_threshold(50_000, 20, 20)

Make = Callable[[Path], object]

WINDOW = 9
CHUNK = 4
SIZES: dict[str, dict[str, Any]] = {
    "retention": {},
    "dssm": {"mixer": {"kind": "dssm", "state_size": 4}},
    "attention": {"window": WINDOW},
    "lookahead": {"topology": "alternating", "mixer": {"kind": "retention"}, "lookahead": True},
    "gated": {
        "topology": "dual_stream",
        "mixer": {"kind": "dssm", "state_size": 4},
        "block": "gated",
        "representation": 16,
    },
    "3dhp": {
        "topology": "alternating",
        "mixer": {"kind": "retention", "distances": "3dhp17"},
        "skeleton": "3dhp17",
        "channels": 2,
    },
    "centre": {
        "topology": "alternating",
        "mixer": {"kind": "attention"},
        "window": WINDOW,
        "pruning": {"keep": [3], "layers": [0], "recover": "none", "output": "centre"},
    },
}


def tiny_model(kind: str) -> Lifter:
    """The smallest lifter of that kind; the same weights each time."""
    import torch
    from posemoe_edge.edge.models.topology import build, config_from

    sizes = {"topology": "moe", "mixer": {"kind": kind}, "dim": 16, "heads": 2, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return build(config_from(sizes | SIZES[kind])).eval()


@pytest.fixture(scope="session")
def tiny_lifter() -> Callable[[str], Lifter]:
    """tiny_lifter("retention"): the PyTorch model that the artefacts "retention" and "retention-chunk" were exported from."""
    cached = functools.cache(tiny_model)
    return lambda kind: cached(kind.removesuffix("-chunk"))


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """build_once("a name", make): the file or folder that ``make(path)`` writes, by the first worker that asks. Read only."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base

    def once(name: str, make: Make) -> Path:
        path = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                draft = Path(tempfile.mkdtemp(dir=shared)) / name
                make(draft)
                draft.rename(path)
        return path

    return once


@pytest.fixture(scope="session")
def artefact_of(build_once: Callable[[str, Make], Path], tiny_lifter: Callable[[str], Lifter]) -> Callable[[str], Path]:
    """artefact_of("dssm"): its artefact; "dssm-chunk": in chunks. Read only."""

    @functools.cache
    def exported(kind: str) -> Path:
        def make(folder: Path) -> None:
            from posemoe_edge.export.artefact import export

            export(
                tiny_lifter(kind),
                folder,
                preset=f"tiny-{kind}",
                precisions=("fp32", "fp16") if kind == "retention" else ("fp32",),
                chunk=CHUNK if kind.endswith("-chunk") else None,
                training={"untrained": True},
            )

        return build_once(f"tiny-{kind}", make)

    return exported


@pytest.fixture
def retention_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """fp32 and fp16. Read only."""
    return artefact_of("retention")


@pytest.fixture
def dssm_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """fp32. Read only."""
    return artefact_of("dssm")


@pytest.fixture
def attention_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """fp32, a window of 9 frames. Read only."""
    return artefact_of("attention")


@pytest.fixture(scope="session")
def _certified_template(artefact_of: Callable[[str], Path], build_once: Callable[[str, Make], Path]) -> Path:
    def make(folder: Path) -> None:
        from posemoe_edge.edge.checkpoints import load_reference
        from posemoe_edge.edge.data.motion import walker_motion
        from posemoe_edge.export.verify import verify
        from posemoe_edge.runtime.artefact.certificate import Budget

        shutil.copytree(artefact_of("retention"), folder)
        wide = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)  # random weights round worse than trained ones
        verify(folder, load_reference, *walker_motion(frames=60, streams=2), budget=wide)

    return build_once("certified", make)


@pytest.fixture(scope="session")
def calibrated_artefact(artefact_of: Callable[[str], Path], build_once: Callable[[str, Make], Path]) -> Path:
    """A retention artefact with graphs of all precisions, calibrated on 100 frames of two streams. Read only."""

    def make(folder: Path) -> None:
        from posemoe_edge.calib.measure.budget import budget_for
        from posemoe_edge.calib.quantize import calibrate as module
        from posemoe_edge.edge.data.motion import walker_motion

        shutil.copytree(artefact_of("retention"), folder)
        observed, seen = walker_motion(frames=100, streams=2), walker_motion(frames=40, streams=2, seed=1)
        with pytest.MonkeyPatch.context() as quick:
            quick.setattr(module, "SENSITIVITY_FRAMES", 10)
            check = module.Check(*seen)
            module.calibrate(folder, *observed, precisions=("int8", "int8w"), budget=budget_for(2.0), check=check)

    return build_once("calibrated", make)


@pytest.fixture
def certified_artefact(_certified_template: Path, tmp_path: Path) -> Path:
    """A retention artefact with a certificate of 60 frames, which it passed. The test may spoil it."""
    return Path(shutil.copytree(_certified_template, tmp_path / "certified"))


@pytest.fixture
def cached_trace(artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting a tiny streaming model takes what was traced before: seconds less, and the same graphs."""
    import onnx
    import torch
    from posemoe_edge.export import artefact
    from posemoe_edge.export.passes import NAME_NODES

    folders = {mixer: artefact_of(mixer) for mixer in ("retention", "dssm")}  # exported before, by the real trace

    def trace(model: Lifter, chunk: int | None = None) -> onnx.ModelProto:
        assert chunk is None
        precision = "fp16" if torch.float16 in {p.dtype for p in model.parameters()} else "fp32"
        proto = onnx.load(folders[model.config.mixer_kind] / f"step.{precision}.onnx")
        del proto.metadata_props[:]
        return proto

    monkeypatch.setattr(artefact, "trace", trace)
    # The replayed graphs have their names already, and no record of their modules to derive names from.
    monkeypatch.setattr(artefact, "PASSES", tuple(item for item in artefact.PASSES if item is not NAME_NODES))


@pytest.fixture
def copy_artefact(artefact_of: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """copy_artefact("dssm"): a copy of the artefact that the test may spoil."""

    def copy(mixer: str) -> Path:
        return Path(shutil.copytree(artefact_of(mixer), tmp_path / mixer))

    return copy


@pytest.fixture
def copied_artefact(copy_artefact: Callable[[str], Path]) -> Path:
    """A retention artefact, fp32 and fp16, that the test may spoil."""
    return copy_artefact("retention")


@pytest.fixture
def xdg_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for caches: one of the test's own, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def make_build_key() -> Callable[..., BuildKey]:
    """make_build_key(folder, "fp16", streams=(1, 1, 4)): a plan of that graph as Orin would build it, but for these changes."""
    from posemoe_edge.runtime.artefact.manifest import read_manifest
    from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey, graph_sha256, this_platform

    def key(folder: Path, precision: Any = None, **changes: Any) -> BuildKey:
        manifest = read_manifest(folder)
        graph = manifest.graph(precision)
        orins: dict[str, Any] = {
            "engine": "tensorrt",
            "version": "10.3.0",
            "graph": graph.file,
            "graph_sha256": graph_sha256(folder, manifest, graph),
            "precision": graph.precision,
            "capabilities": ("sm87",),
            "platform": this_platform(),
            "streams": (1, 1, 8),
            "flags": (),
        }
        return BuildKey(**orins | changes)

    return key


@pytest.fixture(scope="session")
def play_crowd(walker_keypoints: Callable[..., np.ndarray]) -> Callable[..., Iterator[list[Any]]]:
    """play_crowd(two_models, pairs, 60, joins=12, leaves=40): people come and go in both, the same, and not all in every frame.

    Frame by frame the pairs of poses; ``pairs`` holds those of the streams that are there.
    """

    def play(models: Sequence[Any], pairs: list[Any], frames: int, *, joins: int, leaves: int) -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for i in range(frames):
            if i % joins == 0:
                pairs.append([model.stream() for model in models])
            if i == leaves:
                for stream in pairs.pop(1):
                    stream.close()
            there = [pair for pair in pairs if rng.random() < 0.8] or pairs[:1]
            seen = [walker_keypoints(frames, seed=k)[i] for k in range(len(there))]
            given = [dict(zip((pair[side] for pair in there), seen, strict=True)) for side in range(2)]
            poses = [model.step_batch(each, t=i * 0.02) for model, each in zip(models, given, strict=True)]
            yield [(poses[0][a], poses[1][b]) for a, b in there]

    return play


@pytest.fixture(scope="session")
def walker_keypoints() -> Callable[..., np.ndarray]:
    """walker_keypoints(100): (100, 17, 3) noisy keypoints of a walker at 50 Hz.

    walker_keypoints(100, seed=3): those of another walker. The array is read only.
    """

    @functools.cache
    def keypoints(frames: int, seed: int = 0) -> np.ndarray:
        from posemoe_edge.runtime.sources.synthetic import SyntheticSource

        with SyntheticSource(seed=seed, noise_px=3, frames=frames) as source:
            made = np.stack([frame.people[0] for frame in source])
        made.setflags(write=False)
        return made

    return keypoints


@pytest.fixture(scope="session")
def make_walker_clip() -> Callable[..., Clip]:
    """make_walker_clip("a", 100, seed=1): a motion-capture clip of the procedural walker."""
    from posemoe_edge.edge.data.mocap import Clip
    from posemoe_edge.runtime.sources.walker import walk_world

    def clip(name: str, frames: int, *, seed: int = 0, split: str = "train") -> Clip:
        joints_m = walk_world(np.arange(frames) / 50, seed=seed).astype(np.float32)
        return Clip(id=name, subject=name, action="walk", split=split, native=True, fps=50.0, joints_m=joints_m)

    return clip


@pytest.fixture
def write_motion_file(tmp_path: Path) -> Callable[..., Path]:
    """write_motion_file(clips): a motion-capture file of them."""
    from posemoe_edge.edge.data.mocap import save_clips

    def write(clips: list[Clip], name: str = "motion.npz") -> Path:
        save_clips(tmp_path / name, clips)
        return tmp_path / name

    return write

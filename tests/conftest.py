"""Fixtures for all tests: small artefacts with seeded random weights, exported once for all xdist workers, and motion.

Shared artefacts are read only: a test that modifies one uses ``copied_artefact`` or ``copy_artefact``.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

# There are as many workers as cores, so more threads would only compete. This must be set before numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

if TYPE_CHECKING:
    import onnx
    from posemoe_edge.edge.data.mocap import Clip
    from posemoe_edge.edge.models.lifter import Lifter
    from posemoe_edge.runtime.arrays import F32
    from posemoe_edge.runtime.detectors.blazepose import BlazePose
    from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey

# An export creates millions of objects beside PyTorch's: garbage collection took a tenth of the time.
gc.set_threshold(50_000, 20, 20)

# On a machine without PyTorch and ONNX, as a robot is: files that import them at their top. Others need them in fixtures.
collect_ignore_glob = [] if find_spec("torch") and find_spec("onnx") else ["runtime/engines/*/test_builder.py"]

FETCHED = Path(__file__).parents[1] / ".venv" / ".cache"
"""The cache of the tests: the Makefile's set-up puts BlazePose's networks there, which are in public packages."""

WriteTo = Callable[[Path], object]

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

WANTED = ("retention", "dssm", "attention", "retention-chunk", "dssm-chunk", "gated-chunk", "lookahead-chunk", "gated")
"""The artefacts that the whole suite needs, whatever comes first."""


def tiny_model(kind: str) -> Lifter:
    """The smallest lifter of a kind, always with the same weights."""
    torch = pytest.importorskip("torch")
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


class BuildOnce:
    """build_once("name", write): the file or folder that ``write(path)`` made in the first worker that needed it. Read only.

    A worker that would wait for another one makes one of ``wanted`` meanwhile, if there is one that nobody has begun.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted: dict[str, WriteTo] = {}

    def __call__(self, name: str, write: WriteTo) -> Path:
        for package in ("torch", "onnx"):
            pytest.importorskip(package, reason="the tests' artefacts are exported by PyTorch")
        if not self._build(name, write, wait=False):
            any(
                not (self.folder / other).exists() and self._build(other, self.wanted[other], wait=False)
                for other in self.wanted
            )
            self._build(name, write, wait=True)
        return self.folder / name

    def _build(self, name: str, write: WriteTo, *, wait: bool) -> bool:
        """Make it if it is not there; whether it is there: another worker may be at work on it."""
        path = self.folder / name
        with (self.folder / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return False
            if not path.exists():
                draft = Path(tempfile.mkdtemp(dir=self.folder)) / name
                write(draft)
                draft.rename(path)
        return True


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """What is shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    return BuildOnce(base.parent if base.name.startswith("popen-") else base)


@pytest.fixture(scope="session")
def traced(build_once: BuildOnce, tiny_lifter: Callable[[str], Lifter]) -> Callable[..., onnx.ModelProto]:
    """traced("dssm"): the graph that ``trace`` makes of ``tiny_lifter("dssm")``, before any pass; "dssm-chunk": of a chunk.

    traced("dssm", half=True): of the lifter in FP16. A trace takes seconds, so there is one of each; every call reads it anew.
    """

    def write(kind: str, half: bool, path: Path) -> None:
        import onnx
        from posemoe_edge.export.precision import to_fp16
        from posemoe_edge.export.trace import trace

        lifter = to_fp16(tiny_lifter(kind)) if half else tiny_lifter(kind)
        onnx.save(trace(lifter, CHUNK if kind.endswith("-chunk") else None), str(path))

    def read(kind: str, *, half: bool = False) -> onnx.ModelProto:
        import onnx

        return onnx.load(build_once(f"traced-{kind}{'-half' if half else ''}", functools.partial(write, kind, half)))

    return read


@pytest.fixture(scope="session")
def artefact_of(
    build_once: BuildOnce, tiny_lifter: Callable[[str], Lifter], traced: Callable[..., onnx.ModelProto]
) -> Callable[[str], Path]:
    """artefact_of("dssm"): the artefact of ``tiny_lifter("dssm")``; "dssm-chunk": exported in chunks. Read only."""

    def make(kind: str, folder: Path) -> None:
        from posemoe_edge.export import artefact

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artefact, "trace", lambda model, chunk: traced(kind, half=is_half(model)))
            artefact.export(
                tiny_lifter(kind),
                folder,
                preset=f"tiny-{kind}",
                precisions=("fp32", "fp16") if kind == "retention" else ("fp32",),
                chunk=CHUNK if kind.endswith("-chunk") else None,
                training={"untrained": True},
            )

    build_once.wanted |= {f"tiny-{kind}": functools.partial(make, kind) for kind in WANTED}
    return functools.cache(lambda kind: build_once(f"tiny-{kind}", functools.partial(make, kind)))


@pytest.fixture
def retention_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """A retention artefact, fp32 and fp16. Read only."""
    return artefact_of("retention")


@pytest.fixture
def dssm_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """A dSSM artefact, fp32. Read only."""
    return artefact_of("dssm")


@pytest.fixture
def attention_artefact(artefact_of: Callable[[str], Path]) -> Path:
    """An attention artefact, fp32, with a window of 9 frames. Read only."""
    return artefact_of("attention")


@pytest.fixture(scope="session")
def _certified_template(artefact_of: Callable[[str], Path], build_once: BuildOnce) -> Path:
    def make(folder: Path) -> None:
        from posemoe_edge.edge.checkpoints import load_reference
        from posemoe_edge.edge.data.motion import walker_motion
        from posemoe_edge.export.verify import verify
        from posemoe_edge.runtime.artefact.certificate import Budget

        shutil.copytree(artefact_of("retention"), folder)
        wide = Budget(
            mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100
        )  # random weights have larger rounding errors than trained ones
        verify(folder, load_reference, *walker_motion(frames=60, streams=2), budget=wide)

    return build_once("certified", make)


@pytest.fixture(scope="session")
def calibrated_artefact(artefact_of: Callable[[str], Path], build_once: BuildOnce) -> Path:
    """A retention artefact with graphs of all precisions, calibrated on 100 frames of two streams. Read only."""

    def make(folder: Path) -> None:
        from posemoe_edge.calib.measure.budget import budget_for
        from posemoe_edge.calib.quantize import calibrate as module
        from posemoe_edge.edge.data.motion import walker_motion

        shutil.copytree(artefact_of("retention"), folder)
        observed, checked = walker_motion(frames=100, streams=2), walker_motion(frames=40, streams=2, seed=1)
        with pytest.MonkeyPatch.context() as quick:
            quick.setattr(module, "SENSITIVITY_FRAMES", 10)
            check = module.Check(*checked)
            module.calibrate(folder, *observed, precisions=("int8", "int8w"), budget=budget_for(2.0), check=check)

    return build_once("calibrated", make)


@pytest.fixture
def certified_artefact(_certified_template: Path, tmp_path: Path) -> Path:
    """A copy of a retention artefact with a certificate of 60 frames, which it passed. The test may modify it."""
    return Path(shutil.copytree(_certified_template, tmp_path / "certified"))


def is_half(model: Lifter) -> bool:
    """Whether a lifter has weights in FP16."""
    import torch

    return torch.float16 in {parameter.dtype for parameter in model.parameters()}


@pytest.fixture
def replayed_graphs(artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of tiny streaming models reuse the graphs of ``artefact_of``, traced and passed, which saves seconds for each."""
    import onnx
    from posemoe_edge.export import artefact
    from posemoe_edge.export.passes import run_passes
    from posemoe_edge.runtime.artefact.manifest import read_manifest

    folders = {mixer: artefact_of(mixer) for mixer in ("retention", "dssm")}  # exported by the real trace and passes
    replayed: list[tuple[onnx.ModelProto, Any]] = []

    def trace(model: Lifter, chunk: int | None = None) -> onnx.ModelProto:
        assert chunk is None
        folder = folders[model.config.mixer_kind]
        graph = read_manifest(folder).graph("fp16" if is_half(model) else "fp32")
        proto = onnx.load(folder / graph.file)
        del proto.metadata_props[:]
        replayed.append((proto, graph.passes))
        return proto

    def passed(model: onnx.ModelProto, passes: Any) -> Any:
        """Any other graph goes through the passes."""
        return next((item for item in replayed if item[0] is model), None) or run_passes(model, passes)

    monkeypatch.setattr(artefact, "trace", trace)
    monkeypatch.setattr(artefact, "run_passes", passed)


@pytest.fixture
def copy_artefact(artefact_of: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """copy_artefact("dssm"): a copy of the artefact that the test may modify."""

    def copy(mixer: str) -> Path:
        return Path(shutil.copytree(artefact_of(mixer), tmp_path / mixer))

    return copy


@pytest.fixture
def copied_artefact(copy_artefact: Callable[[str], Path]) -> Path:
    """A copy of the retention artefact, fp32 and fp16, that the test may modify."""
    return copy_artefact("retention")


@pytest.fixture(scope="session")
def site(build_once: BuildOnce) -> Path:
    """The folder of the documentation's site, as `make site` builds it, and in it what was said meanwhile. Read only."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="the extra docs is not installed")

    def build(folder: Path) -> None:
        process = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        (folder / "build.log").write_text(process.stdout)

    return build_once("site", build)


@pytest.fixture
def xdg_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder: one of the test's own, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def open_blazepose() -> Callable[..., BlazePose]:
    """open_blazepose("heavy"): the detector with that landmark network; the test is skipped where it is absent."""
    from posemoe_edge.runtime.cache import VARIABLE
    from posemoe_edge.runtime.detectors.blazepose import BlazePose
    from posemoe_edge.runtime.detectors.models import MODELS

    def opened(variant: str = "full") -> BlazePose:
        pytest.importorskip("cv2")
        pytest.importorskip("ai_edge_litert")
        with pytest.MonkeyPatch.context() as patch:
            if FETCHED.is_dir():
                patch.setenv(VARIABLE, str(FETCHED))
            absent = [file.name for file in MODELS[f"blazepose:{variant}"] if not file.path.is_file()]
            if absent:
                pytest.skip(f"no {' and no '.join(absent)}: `make test` fetches what it can")
            return BlazePose(variant)

    return opened


@pytest.fixture(scope="session")
def fetched_networks() -> Path:
    """The folder for the networks that `make test` fetched; it may be absent."""
    from posemoe_edge.runtime.detectors.models import FOLDER

    return FETCHED / FOLDER


@pytest.fixture(scope="session")
def blazepose_networks(fetched_networks: Path) -> Path:
    """The folder with the networks of BlazePose full; the test is skipped where they are absent."""
    from posemoe_edge.runtime.detectors.models import MODELS

    folder = fetched_networks
    if not all((folder / file.name).is_file() for file in MODELS["blazepose:full"]):
        pytest.skip("no networks of BlazePose: `make test` fetches them")
    return folder


@pytest.fixture(scope="session")
def make_build_key() -> Callable[..., BuildKey]:
    """make_build_key(folder, "fp16", streams=(1, 1, 4)): the key of a plan built on an Orin, with these changes."""
    from posemoe_edge.runtime.artefact.manifest import read_manifest
    from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey, graph_sha256, this_platform

    def key(folder: Path, precision: Any = None, **changes: Any) -> BuildKey:
        manifest = read_manifest(folder)
        graph = manifest.graph(precision)
        fields: dict[str, Any] = {
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
        return BuildKey(**fields | changes)

    return key


@pytest.fixture(scope="session")
def play_crowd(walker_keypoints: Callable[..., F32]) -> Callable[..., Iterator[list[Any]]]:
    """play_crowd(two_models, pairs, 60, joins=12, leaves=40): the poses of two models for the same people.

    A person joins every 12 frames, one leaves in frame 40, and in each frame some are absent. Yields, for each frame, the pairs
    of poses of those present; ``pairs`` holds the pairs of open streams.
    """

    def play(models: Sequence[Any], pairs: list[Any], frames: int, *, joins: int, leaves: int) -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for i in range(frames):
            if i % joins == 0:
                pairs.append([model.stream() for model in models])
            if i == leaves:
                for stream in pairs.pop(1):
                    stream.close()
            present = [pair for pair in pairs if rng.random() < 0.8] or pairs[:1]
            keypoints = [walker_keypoints(frames, seed=k)[i] for k in range(len(present))]
            inputs = [dict(zip((pair[side] for pair in present), keypoints, strict=True)) for side in range(2)]
            poses = [model.step_batch(batch, t=i * 0.02) for model, batch in zip(models, inputs, strict=True)]
            yield [(poses[0][a], poses[1][b]) for a, b in present]

    return play


@pytest.fixture(scope="session")
def walker_keypoints() -> Callable[..., F32]:
    """walker_keypoints(100): (100, 17, 3) noisy keypoints of a walker at 50 Hz.

    walker_keypoints(100, seed=3): those of another walker. The array is read only.
    """

    @functools.cache
    def walk(frames: int, seed: int = 0) -> F32:
        from posemoe_edge.runtime.sources.synthetic import SyntheticSource

        with SyntheticSource(seed=seed, noise_px=3, frames=frames) as source:
            keypoints = np.stack([frame.keypoints[0].normalised() for frame in source])
        keypoints.setflags(write=False)
        return keypoints

    return walk


@pytest.fixture(scope="session")
def make_walker_clip() -> Callable[..., Clip]:
    """make_walker_clip("a", 100, seed=1): a motion-capture clip of the procedural walker, at 50 Hz."""
    from posemoe_edge.edge.data.mocap import Clip
    from posemoe_edge.runtime.sources.walker import walk_world

    def clip(name: str, frames: int, *, seed: int = 0, split: str = "train") -> Clip:
        joints_m = walk_world(np.arange(frames) / 50, seed=seed).astype(np.float32)
        return Clip(id=name, subject=name, action="walk", split=split, native=True, fps=50.0, joints_m=joints_m)

    return clip


@pytest.fixture
def write_motion_file(tmp_path: Path) -> Callable[..., Path]:
    """write_motion_file(clips): the path of a motion-capture file that contains them."""
    from posemoe_edge.edge.data.mocap import save_clips

    def write(clips: list[Clip], name: str = "motion.npz") -> Path:
        save_clips(tmp_path / name, clips)
        return tmp_path / name

    return write

"""The builder: a graph becomes a plan. One code for TensorRT and TensorRT for RTX, whose module is passed in.

Precision lives in the graph, so networks are strongly typed: no precision flag and no calibrator is ever touched, which also
is what makes one code fit TensorRT 10.3 to 11. TF32 is off: it would round the FP32 matrix products of a graph to 10 bits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...artefact.atomic import write_atomically
from ...artefact.manifest import Graph, Manifest, check_file
from ...cuda.gc_pause import gc_paused
from ...errors import ArtefactError, MissingError, PoseEdgeError, UsageError
from .library import MAX_ERRORS, last_errors, open_logger
from .plan import (
    BuildKey,
    EngineName,
    Plan,
    Streams,
    cache_folder,
    graph_sha256,
    plans_folder,
    read_plan,
    this_platform,
    write_plan,
)

log = logging.getLogger(__name__)

WORKSPACE_MB = 512  # of scratch memory: these networks use little, and a small board shares it with everything else

Phase = tuple[str, int, int]  # name, steps done, steps
Watch = Callable[[Sequence[Phase]], None]


class BuildError(ArtefactError):
    """TensorRT cannot read a graph, or cannot compile it."""


def make_plan(
    folder: Path,
    manifest: Manifest,
    graph: Graph,
    trt: Any,
    *,
    engine: EngineName,
    capabilities: tuple[str, ...],
    streams: Streams,
    workspace_mb: int = WORKSPACE_MB,
    force: bool = False,
    watch: Watch = lambda phases: None,
) -> tuple[Plan, float | None]:
    """The plan of an artefact's graph, and the seconds that it took: None if it was there already.

    Args:
        folder: the artefact.
        trt: the module of ``engine``.
        capabilities: the GPUs: this machine's own, or for tensorrt-rtx those that ``find_targets`` knows.
        streams: the least, usual and most rows of a launch.
        force: build although there is a plan of that key.
        watch: called with the phases under way, outermost first.
    """
    key = BuildKey(
        engine=engine,
        version=trt.__version__,
        graph=graph.file,
        graph_sha256=graph_sha256(folder, manifest, graph),
        precision=graph.precision,
        capabilities=capabilities,
        platform=this_platform(),
        streams=streams,
        flags=("strongly_typed", "no_tf32", f"workspace={workspace_mb}MiB"),
    )
    there = None if force else _there(folder, key)
    if there:
        return there, None
    path = check_file(folder, manifest, graph.file)
    timing = None
    if engine == "tensorrt":  # to TensorRT for RTX timing means nothing: it compiles for GPUs that are not there
        timing = cache_folder() / "timing" / f"trt{key.version}.{'-'.join(capabilities)}.{key.platform}.cache"
    started = time.monotonic()
    targets = capabilities if engine == "tensorrt-rtx" else ()
    plan = build(trt, path, graph, streams=streams, targets=targets, workspace_mb=workspace_mb, timing=timing, watch=watch)
    seconds = time.monotonic() - started
    return write_plan(folder, key, plan, seconds=seconds), seconds


def build(
    trt: Any,
    path: Path,
    graph: Graph,
    *,
    streams: Streams,
    targets: tuple[str, ...] = (),
    workspace_mb: int = WORKSPACE_MB,
    timing: Path | None = None,
    watch: Watch = lambda phases: None,
) -> bytes:
    """Compile an ONNX file to the bytes of a plan.

    Args:
        targets: the GPUs of TensorRT for RTX; none for TensorRT, which builds for the one that is here.
        timing: the file in which TensorRT keeps what it timed, read and written; a second build is quicker for it.
    """
    check_streams(streams)
    monitor = _monitor(trt, watch)
    # In a thread of its own, so that Ctrl-C reaches us while the builder is at work; the monitor then tells it to stop. We wait
    # until it has, however often we are told, and what it works on is that thread's: nothing is destroyed under the builder.
    with ThreadPoolExecutor(1, "builder") as pool:
        work = pool.submit(_compile, trt, path, graph, streams, targets, workspace_mb, timing, monitor)
        try:
            return work.result()
        except KeyboardInterrupt:
            monitor.stop = True
            while not work.done():
                with suppress(KeyboardInterrupt):
                    wait([work])
            raise


@gc_paused()
def _compile(
    trt: Any,
    path: Path,
    graph: Graph,
    streams: Streams,
    targets: tuple[str, ...],
    workspace_mb: int,
    timing: Path | None,
    monitor: Any,
) -> bytes:
    logger = open_logger(trt)
    builder = _builder(trt, logger)
    network, parser = read_network(trt, builder, logger, path)
    _check_network(network, graph)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, pool_size=workspace_mb << 20)
    profile = _profile(builder, network, streams)
    if config.add_optimization_profile(profile) < 0:
        raise BuildError(
            f"TensorRT refused streams {streams}: {last_errors(logger.errors)}", expected="streams that fit the graph"
        )
    if targets:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(find_targets(trt, targets)):
            config.set_compute_capability(target, index)
    if timing:
        use_timing_cache(config, timing)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    del parser  # it owns what the network points to: never before the build is over
    if monitor.trouble:
        raise monitor.trouble
    if plan is None:
        raise BuildError(
            f"TensorRT {trt.__version__} did not compile {path.name}: {last_errors(logger.errors)}",
            expected="a plan",
            run=f"posemoe-edge inspect {path.parent} --layers",
        )
    if timing:
        keep_timing_cache(config, timing)
    return bytes(plan)


@gc_paused()
def read_network(trt: Any, builder: Any, logger: Any, path: Path) -> tuple[Any, Any]:
    """The network of an ONNX file, strongly typed, and the parser, which must live as long.

    Raises:
        BuildError: which node cannot be read, and why.
    """
    network = builder.create_network(flags=1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network=network, logger=logger)
    if not parser.parse_from_file(model=str(path)):
        told = []
        for index in range(parser.num_errors):
            problem = parser.get_error(index)
            told.append(f"node {problem.node_name()} ({problem.node_operator()}): {problem.desc()}")
        raise BuildError(
            f"TensorRT {trt.__version__} cannot read {path.name}: {'; '.join(told[:MAX_ERRORS]) or last_errors(logger.errors)}",
            expected="a graph that export wrote",
            run="posemoe-edge export",
        )
    return network, parser


def open_builder(trt: Any) -> tuple[Any, Any]:
    """A builder, and its logger, which must live as long."""
    logger = open_logger(trt)
    return _builder(trt, logger), logger


def find_targets(trt: Any, targets: Sequence[str]) -> list[Any]:
    """TensorRT for RTX's names of GPUs: sm86 -> ComputeCapability.SM86. Standard TensorRT builds for the GPU that is here."""
    members = trt.ComputeCapability.__members__
    known = {name.lower(): member for name, member in members.items() if name.startswith("SM")}
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise UsageError(
            f"TensorRT for RTX {trt.__version__} does not build for {', '.join(map(repr, unknown))}",
            expected=f"some of {', '.join(known)}; a Jetson builds its own plans, with --engine tensorrt",
        )
    return [known[target] for target in targets]


def check_streams(streams: Streams) -> None:
    """Least, usual and most streams grow."""
    least, usual, most = streams
    if not 1 <= least <= usual <= most:
        raise UsageError(f"streams {least},{usual},{most}", expected="least <= usual <= most, from 1 on", run="--streams 1,1,8")


def use_timing_cache(config: Any, path: Path) -> None:
    """Give the builder what it timed before. A file of another version or GPU is as good as none: TensorRT begins anew."""
    data = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        log.warning("%s is not this machine's: timing anew", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)


def keep_timing_cache(config: Any, path: Path) -> None:
    """Keep what was timed. That it cannot be written costs time on the next build, and nothing else."""
    with suppress(PoseEdgeError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        cache = config.get_timing_cache()
        write_atomically(path, bytes(cache.serialize()))


def _there(folder: Path, key: BuildKey) -> Plan | None:
    """The whole plan of exactly that key, if it was built before."""
    side_car = (plans_folder(folder, key.graph_sha256) / key.file).with_suffix(".json")
    if not side_car.is_file():
        return None
    try:
        plan = read_plan(side_car, folder)
        plan.read()
    except ArtefactError as error:
        log.warning("%s: building anew", error.what)
        return None
    return plan if plan.key == key else None


@gc_paused()
def _builder(trt: Any, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except TypeError:  # the library answered with a null pointer: it found no driver
        raise MissingError(
            f"TensorRT {trt.__version__} is installed and finds no GPU ({last_errors(logger.errors)})",
            expected="an NVIDIA driver and a GPU; plans for RTX cards are built without one",
            run="posemoe-edge build --engine tensorrt-rtx, or posemoe-edge doctor",
        ) from None


def _check_network(network: Any, graph: Graph) -> None:
    """What the parser found are the inputs and outputs of which the manifest speaks."""
    for kind, count, get, told in (
        ("inputs", network.num_inputs, network.get_input, graph.inputs),
        ("outputs", network.num_outputs, network.get_output, graph.outputs),
    ):
        found = {tensor.name: (_dtype(tensor), tuple(tensor.shape)[1:]) for tensor in map(get, range(count))}
        expected = {tensor.name: (tensor.dtype, tensor.shape[1:]) for tensor in told}
        if found != expected:
            raise ArtefactError(
                f"the {kind} of {graph.file} are {found}",
                expected=f"{expected}, as the manifest says",
                run="posemoe-edge export",
            )


def _dtype(tensor: Any) -> str:
    """A tensor's type in numpy's words."""
    name = str(tensor.dtype.name)
    return {"FLOAT": "float32", "HALF": "float16"}.get(name, name.lower())


def _profile(builder: Any, network: Any, streams: Streams) -> Any:
    """The sizes between which a launch may vary: the batch axis, from the least to the most streams."""
    profile = builder.create_optimization_profile()
    for tensor in map(network.get_input, range(network.num_inputs)):
        rest = tuple(tensor.shape)[1:]
        least, usual, most = ((rows, *rest) for rows in streams)
        profile.set_shape(tensor.name, min=least, opt=usual, max=most)
    return profile


def _monitor(trt: Any, watch: Watch) -> Any:
    """The builder's progress, told to ``watch``; ``stop`` ends the build at its next step."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stop = False
            self.trouble: Exception | None = None
            self.phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (0, num_steps)
            self._tell()

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases[phase_name] = (step + 1, self.phases.get(phase_name, (0, step + 1))[1])
            self._tell()
            return not self.stop

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def _tell(self) -> None:
            try:
                watch([(name, *steps) for name, steps in self.phases.items()])
            except Exception as error:  # it must not reach the library, whose threads it would end
                self.trouble, self.stop = error, True

    return Monitor()

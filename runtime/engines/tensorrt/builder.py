"""Builds a plan from an ONNX graph, with TensorRT or TensorRT for RTX, whose module is an argument.

The precision is in the graph, so networks are strongly typed: the builder sets no precision flag and uses no calibrator, so the
same code works with TensorRT 10.3 to 11. TF32 is off: it would round the operands of the products that stay FP32 to 10 bits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...artefact.manifest import Graph, Manifest, read_graph_file
from ...artefact.room import check_room
from ...cache import cache_folder
from ...cuda.gc_pause import gc_paused
from ...errors import ArtefactError, MissingError, UsageError
from .library import MAX_ERRORS, last_errors, open_logger
from .plan import (
    BuildKey,
    EngineName,
    Plan,
    Streams,
    graph_sha256,
    plans_folder,
    read_plan,
    this_platform,
    write_plan,
)
from .progress import ProgressCallback, progress_monitor
from .timing_cache import load_timing_cache, save_timing_cache

log = logging.getLogger(__name__)

WORKSPACE_MB = 512  # scratch memory: these networks need little, and on a small Jetson the CPU shares the memory


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
    on_progress: ProgressCallback = lambda phases: None,
) -> tuple[Plan, float | None]:
    """The plan of an artefact's graph, and the seconds that the build took; None if the plan existed already.

    Args:
        folder: the artefact.
        trt: the module of ``engine``.
        capabilities: the GPUs: this machine's own, or for tensorrt-rtx those that ``find_targets`` knows.
        streams: the minimum, the typical and the maximum number of rows of a launch.
        force: build even if there is a plan with this key.
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
    existing = None if force else _find_existing(folder, key)
    if existing:
        return existing, None
    content = read_graph_file(folder, manifest, graph)
    check_room(plans_folder(folder, key.graph_sha256), len(content))  # a plan holds the weights, too
    timing = None
    if engine == "tensorrt":  # TensorRT for RTX times nothing: it compiles for GPUs that are not in this machine
        timing = cache_folder() / "timing" / f"trt{key.version}.{'-'.join(capabilities)}.{key.platform}.cache"
    started = time.monotonic()
    targets = capabilities if engine == "tensorrt-rtx" else ()
    plan = build(
        trt, content, graph, streams=streams, targets=targets, workspace_mb=workspace_mb, timing=timing, on_progress=on_progress
    )
    seconds = time.monotonic() - started
    return write_plan(folder, key, plan, seconds=seconds), seconds


def build(
    trt: Any,
    source: Path | bytes,
    graph: Graph,
    *,
    streams: Streams,
    targets: tuple[str, ...] = (),
    workspace_mb: int = WORKSPACE_MB,
    timing: Path | None = None,
    on_progress: ProgressCallback = lambda phases: None,
) -> bytes:
    """Compile an ONNX file to the bytes of a plan.

    Args:
        source: the file, or what it held when it was compared with its hash.
        targets: the GPUs of TensorRT for RTX; none for TensorRT, which builds for this machine's GPU.
        timing: the file of TensorRT's timing cache, read and written.

    Raises:
        UsageError: the streams or a target are invalid.
        BuildError: TensorRT cannot read or compile the graph.
        ArtefactError: the graph's interface is not that of its record.
    """
    check_streams(streams)
    monitor = progress_monitor(trt, on_progress)
    # The builder runs in its own thread, so that Ctrl-C interrupts this one; the monitor then cancels the build. This one waits
    # until it has stopped, even if Ctrl-C comes again: the objects that the builder works on must not be destroyed.
    with ThreadPoolExecutor(1, "builder") as pool:
        work = pool.submit(_compile, trt, source, graph, streams, targets, workspace_mb, timing, monitor)
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
    source: Path | bytes,
    graph: Graph,
    streams: Streams,
    targets: tuple[str, ...],
    workspace_mb: int,
    timing: Path | None,
    monitor: Any,
) -> bytes:
    logger = open_logger(trt)
    builder = _builder(trt, logger)
    network, parser = read_network(trt, builder, logger, source, name=graph.file)
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
        load_timing_cache(config, timing)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    del parser  # it owns memory that the network points to, so it must outlive the build
    if monitor.error:
        raise monitor.error
    if plan is None:
        raise BuildError(
            f"TensorRT {trt.__version__} did not compile {graph.file}: {last_errors(logger.errors)}",
            expected="a plan",
            run="posemoe-edge inspect ARTEFACT --layers",
        )
    if timing:
        save_timing_cache(config, timing)
    return bytes(plan)


@gc_paused()
def read_network(trt: Any, builder: Any, logger: Any, source: Path | bytes, *, name: str | None = None) -> tuple[Any, Any]:
    """The strongly typed network of an ONNX file or its bytes, and the parser, which must outlive the network.

    Args:
        name: of the graph, for error messages; None is the file's.

    Raises:
        BuildError: a node cannot be read; the message names it and the reason.
    """
    network = builder.create_network(flags=1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network=network, logger=logger)
    read = parser.parse(source) if isinstance(source, bytes) else parser.parse_from_file(model=str(source))
    if not read:
        problems = []
        for index in range(parser.num_errors):
            problem = parser.get_error(index)
            problems.append(f"node {problem.node_name()} ({problem.node_operator()}): {problem.desc()}")
        reason = "; ".join(problems[:MAX_ERRORS]) or last_errors(logger.errors)
        raise BuildError(
            f"TensorRT {trt.__version__} cannot read {name or (source.name if isinstance(source, Path) else 'it')}: {reason}",
            expected="a graph that export wrote",
            run="posemoe-edge export",
        )
    return network, parser


def open_builder(trt: Any) -> tuple[Any, Any]:
    """A builder and its logger, which must outlive the builder."""
    logger = open_logger(trt)
    return _builder(trt, logger), logger


def find_targets(trt: Any, targets: Sequence[str]) -> list[Any]:
    """The GPUs that TensorRT for RTX builds for: sm86 -> ComputeCapability.SM86.

    Raises:
        UsageError: TensorRT for RTX does not build for one of them.
    """
    members = trt.ComputeCapability.__members__
    levels = {name.lower(): member for name, member in members.items() if name.startswith("SM")}
    unknown = [target for target in targets if target not in levels]
    if unknown:
        raise UsageError(
            f"TensorRT for RTX {trt.__version__} does not build for {', '.join(map(repr, unknown))}",
            expected=f"some of {', '.join(levels)}; a Jetson builds its own plans, with --engine tensorrt",
        )
    return [levels[target] for target in targets]


def check_streams(streams: Streams) -> None:
    """Raise a ``UsageError`` unless 1 <= min <= opt <= max."""
    min_rows, opt_rows, max_rows = streams
    if not 1 <= min_rows <= opt_rows <= max_rows:
        raise UsageError(f"streams {min_rows},{opt_rows},{max_rows}", expected="1 <= min <= opt <= max", run="--streams 1,1,8")


def _find_existing(folder: Path, key: BuildKey) -> Plan | None:
    """The plan with exactly this key, if it was built before and is intact."""
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
    except TypeError:  # the library returned a null pointer: it found no driver
        raise MissingError(
            f"TensorRT {trt.__version__} is installed and finds no GPU ({last_errors(logger.errors)})",
            expected="an NVIDIA driver and a GPU; plans for RTX cards are built without one",
            run="posemoe-edge build --engine tensorrt-rtx, or posemoe-edge doctor",
        ) from None


def _check_network(network: Any, graph: Graph) -> None:
    """Raise an error unless the parsed network has the inputs and outputs that the manifest describes."""
    for kind, count, get, tensors in (
        ("inputs", network.num_inputs, network.get_input, graph.inputs),
        ("outputs", network.num_outputs, network.get_output, graph.outputs),
    ):
        parsed = {tensor.name: (_dtype(tensor), tuple(tensor.shape)[1:]) for tensor in map(get, range(count))}
        expected = {tensor.name: (tensor.dtype, tensor.shape[1:]) for tensor in tensors}
        if parsed != expected:
            raise ArtefactError(
                f"the {kind} of {graph.file} are {parsed}",
                expected=f"{expected}, as the manifest says",
                run="posemoe-edge export",
            )


def _dtype(tensor: Any) -> str:
    """A tensor's type by numpy's name."""
    name = str(tensor.dtype.name)
    return {"FLOAT": "float32", "HALF": "float16"}.get(name, name.lower())


def _profile(builder: Any, network: Any, streams: Streams) -> Any:
    """The optimisation profile: the batch axis may vary from the minimum to the maximum number of streams."""
    profile = builder.create_optimization_profile()
    for tensor in map(network.get_input, range(network.num_inputs)):
        rest = tuple(tensor.shape)[1:]
        min_shape, opt_shape, max_shape = ((rows, *rest) for rows in streams)
        profile.set_shape(tensor.name, min=min_shape, opt=opt_shape, max=max_shape)
    return profile

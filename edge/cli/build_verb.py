"""posemoe-edge build"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any, get_args

import click

from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import Graph, read_manifest
from ...runtime.artefact.precision import TRACED, Precision, gpu_order
from ...runtime.command_line import command_line
from ...runtime.engines.tensorrt.builder import WORKSPACE_MB, BuildError, check_streams, find_targets, make_plan
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.plan import EngineName, Streams
from ...runtime.errors import MissingError, UsageError
from ...runtime.platform.nvidia import find_gpu
from .options import PRECISION
from .output import Output, Result, megabytes, verb

DESKTOP = ("sm86", "sm89", "sm120")  # RTX 30, 40 and 50
FALLBACKS = gpu_order(TRACED)  # built in place of a quantised graph that TensorRT does not compile


def _streams(ctx: click.Context, param: click.Parameter, value: str) -> Streams:
    """Parse "1,8,32", the min, opt and max streams of a launch; "8" means "8,8,8"."""
    try:
        counts = [int(part) for part in value.split(",")]
        min_streams, opt_streams, max_streams = counts * 3 if len(counts) == 1 else counts
    except ValueError:
        raise click.BadParameter(f"{value!r} is not min,opt,max streams, e.g. 1,8,32", ctx, param) from None
    return min_streams, opt_streams, max_streams


@click.command("build")
@click.argument("artefact", required=False)
@click.option(
    "--engine",
    type=click.Choice(get_args(EngineName)),
    help="Which TensorRT compiles.  [default: tensorrt; tensorrt-rtx with --target or if only it is installed]",
)
@click.option(
    "--precision",
    multiple=True,
    type=PRECISION,
    help="A graph to compile; repeatable.  [default: fp16, else fp32]",
)
@click.option(
    "--streams",
    callback=_streams,
    default="1,1,8",
    show_default=True,
    help="Fewest, typical and most streams of a launch: min,opt,max.",
)
@click.option("--target", help="GPUs to compile for, comma-separated; tensorrt-rtx only.  [default: sm86,sm89,sm120]")
@click.option(
    "--workspace-mb",
    type=click.IntRange(min=1),
    default=WORKSPACE_MB,
    show_default=True,
    help="Scratch memory that a layer may use; set less on a small Jetson.",
)
@click.option("--force", is_flag=True, help="Compile even if the plan exists.")
@verb
def command(
    out: Output,
    artefact: str | None,
    engine: EngineName | None,
    precision: tuple[Precision, ...],
    streams: Streams,
    target: str | None,
    workspace_mb: int,
    force: bool,
) -> Result:
    """Compile ARTEFACT's graphs to TensorRT plans: for this machine's GPU, or on any machine for RTX cards. Default: the
    shipped artefact."""
    check_streams(streams)
    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    manifest = read_manifest(folder)
    available = [graph.precision for graph in manifest.graphs]
    fallback = next((name for name in FALLBACKS if name in available), None)
    graphs = [manifest.graph(name) for name in dict.fromkeys(precision) or [fallback or available[0]]]
    engine = engine or _default_engine(target)
    trt = import_tensorrt(engine)
    capabilities = _capabilities(engine, trt, target)
    out.print(f"Building {manifest.preset} with {engine} {trt.__version__} for {', '.join(capabilities)}, streams {streams}")

    def compile_graph(graph: Graph) -> dict[str, Any]:
        with out.console.status(f"  {graph.file} ...") as status:
            plan, seconds = make_plan(
                folder,
                manifest,
                graph,
                trt,
                engine=engine,
                capabilities=capabilities,
                streams=streams,
                workspace_mb=workspace_mb,
                force=force,
                on_progress=lambda phases: status.update(f"  {graph.file}: {_describe(phases)}"),
            )
        if seconds is None:
            out.print(f"  {graph.file:<24} exists {megabytes(plan.record.bytes):>10}  {plan.path}")
        else:
            out.print(f"  {graph.file:<24} {seconds:6.1f} s {megabytes(plan.record.bytes):>10}  {plan.path}")
        return {
            "graph": graph.file,
            "precision": graph.precision,
            "plan": str(plan.path),
            "bytes": plan.record.bytes,
            "seconds": None if seconds is None else round(seconds, 2),
            "key": plan.key.model_dump(mode="json"),
        }

    plans, fell_back = {}, []  # the JSON records by precision, and the graphs that a fallback replaced
    for graph in graphs:
        try:
            plans[graph.precision] = compile_graph(graph)
        except BuildError as error:
            if graph.precision in FALLBACKS or fallback is None:
                raise
            out.warn(f"{error.what}: built {fallback} in place of {graph.precision}")
            fell_back.append({"precision": graph.precision, "why": error.what, "instead": fallback})
            if fallback not in plans:
                plans[fallback] = compile_graph(manifest.graph(fallback))
    data = {
        "artefact": str(folder),
        "engine": engine,
        "version": trt.__version__,
        "capabilities": capabilities,
        "streams": streams,
        "plans": list(plans.values()),
        "fell_back": fell_back,
    }
    next_command = command_line(
        "run", "synthetic://walk", "--model", folder, "--engine", engine, "--precision", next(iter(plans))
    )
    return Result(data, exit_code=1 if fell_back else 0, next_command=next_command)


def _describe(phases: Iterable[tuple[str, int, int]]) -> str:
    return ", ".join(f"{name} {step}/{steps}" for name, step, steps in phases)


def _default_engine(target: str | None) -> EngineName:
    """TensorRT for RTX with a target or if only it is installed, else TensorRT."""
    if target or (not importlib.util.find_spec("tensorrt") and importlib.util.find_spec("tensorrt_rtx")):
        return "tensorrt-rtx"
    return "tensorrt"


def _capabilities(engine: EngineName, trt: Any, target: str | None) -> tuple[str, ...]:
    """The compute capabilities to compile for: this machine's for tensorrt, the targets for tensorrt-rtx.

    Raises:
        MissingError: tensorrt, and this machine has no GPU.
        UsageError: tensorrt, and the target is not this machine's GPU; or tensorrt-rtx does not know the target.
    """
    if engine == "tensorrt":
        try:
            capability = find_gpu().capability
        except MissingError as error:
            rtx_command = command_line("build", "--engine", "tensorrt-rtx", "--target", target or ",".join(DESKTOP))
            raise MissingError(
                f"TensorRT compiles for the GPU of this machine, and {error.what}",
                expected="a GPU, or a plan for RTX cards",
                run=rtx_command,
            ) from None
        if target not in (None, capability):
            raise UsageError(
                f"--target {target} with tensorrt, which compiles for the GPU of this machine: {capability}",
                expected="--engine tensorrt-rtx, or the machine with that GPU",
            )
        return (capability,)
    targets = tuple(dict.fromkeys(name.strip().lower() for name in target.split(","))) if target else DESKTOP
    find_targets(trt, targets)
    return targets

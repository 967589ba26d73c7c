"""posemoe-edge build"""

from __future__ import annotations

import importlib.util
from typing import Any, get_args

import click

from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import Graph, Manifest, read_manifest
from ...runtime.artefact.precision import PRECISIONS, TRACED, Precision, gpu_order
from ...runtime.engines.tensorrt.builder import WORKSPACE_MB, BuildError, check_streams, find_targets, make_plan
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.plan import EngineName, Streams
from ...runtime.errors import MissingError, UsageError
from ...runtime.platform.nvidia import find_gpu
from .output import Output, Result, megabytes, verb

DESKTOP = ("sm86", "sm89", "sm120")  # RTX 30, 40 and 50
SAFE = gpu_order(TRACED)  # what takes the place of a quantised graph that does not build


def _streams(ctx: click.Context, param: click.Parameter, value: str) -> Streams:
    """1,8,32: the least, usual and most streams of a launch; 8 alone is 8,8,8."""
    try:
        given = [int(part) for part in value.split(",")]
        least, usual, most = given * 3 if len(given) == 1 else given
    except ValueError:
        raise click.BadParameter(f"{value!r} is not least,usual,most streams, e.g. 1,8,32", ctx, param) from None
    return least, usual, most


@click.command("build")
@click.argument("artefact", required=False)
@click.option(
    "--engine", type=click.Choice(get_args(EngineName)), help="Default: tensorrt, or tensorrt-rtx with --target or alone."
)
@click.option(
    "--precision",
    multiple=True,
    type=click.Choice(list(PRECISIONS)),
    help="Which graphs; may be given more than once. Default: fp16, else fp32.",
)
@click.option(
    "--streams", callback=_streams, default="1,1,8", show_default=True, help="Least, usual and most streams of a launch."
)
@click.option("--target", help="For tensorrt-rtx: the GPUs, with commas.  [default: sm86,sm89,sm120]")
@click.option(
    "--workspace-mb",
    type=click.IntRange(min=1),
    default=WORKSPACE_MB,
    show_default=True,
    help="Scratch memory that a layer may use; less for a small board.",
)
@click.option("--force", is_flag=True, help="Build although the plan is there.")
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
    """Compile ARTEFACT's graphs to TensorRT plans: for the GPU here, or for RTX cards on any machine. Default: the shipped
    artefact."""
    check_streams(streams)
    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    manifest = read_manifest(folder)
    wanted = list(dict.fromkeys(precision)) or [next(p for p in (*SAFE, manifest.graphs[0].precision) if _has(manifest, p))]
    graphs = [manifest.graph(name) for name in wanted]
    engine = engine or _engine(target)
    trt = import_tensorrt(engine)
    capabilities = _capabilities(engine, trt, target)
    out.print(f"Building {manifest.preset} with {engine} {trt.__version__} for {', '.join(capabilities)}, streams {streams}")

    def make(graph: Graph) -> dict[str, Any]:
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
                watch=lambda phases: status.update(f"  {graph.file}: " + ", ".join(f"{p} {n}/{of}" for p, n, of in phases)),
            )
        if seconds is None:
            out.print(f"  {graph.file:<24} is there {megabytes(plan.record.bytes):>10}  {plan.path}")
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

    plans, fell_back = {}, []
    for graph in graphs:
        try:
            plans[graph.precision] = make(graph)
        except BuildError as error:
            instead = next((p for p in SAFE if _has(manifest, p)), None)
            if graph.precision in SAFE or instead is None:
                raise
            out.warn(f"{error.what}: built {instead} in place of {graph.precision}")
            fell_back.append({"precision": graph.precision, "why": error.what, "instead": instead})
            if instead not in plans:
                plans[instead] = make(manifest.graph(instead))
    data = {
        "artefact": str(folder),
        "engine": engine,
        "version": trt.__version__,
        "capabilities": capabilities,
        "streams": streams,
        "plans": list(plans.values()),
        "fell_back": fell_back,
    }
    next_command = f"posemoe-edge run synthetic://walk --model {folder} --engine {engine} --precision {next(iter(plans))}"
    return Result(data, exit_code=1 if fell_back else 0, next_command=next_command)


def _has(manifest: Manifest, precision: Precision) -> bool:
    return any(graph.precision == precision for graph in manifest.graphs)


def _engine(target: str | None) -> EngineName:
    """TensorRT where it is installed; a target, or the other alone, means TensorRT for RTX."""
    if target or (not importlib.util.find_spec("tensorrt") and importlib.util.find_spec("tensorrt_rtx")):
        return "tensorrt-rtx"
    return "tensorrt"


def _capabilities(engine: EngineName, trt: Any, target: str | None) -> tuple[str, ...]:
    """The GPUs to build for."""
    if engine == "tensorrt":
        try:
            here = find_gpu().capability
        except MissingError as error:
            rtx = f"posemoe-edge build --engine tensorrt-rtx --target {target or ','.join(DESKTOP)}"
            raise MissingError(
                f"TensorRT builds for the GPU that is here, and {error.what}",
                expected="a GPU, or a plan for RTX cards",
                run=rtx,
            ) from None
        if target not in (None, here):
            raise UsageError(
                f"--target {target} with tensorrt, which builds for the GPU that is here: {here}",
                expected="--engine tensorrt-rtx, or the machine with that GPU",
            )
        return (here,)
    targets = tuple(dict.fromkeys(name.strip().lower() for name in target.split(","))) if target else DESKTOP
    find_targets(trt, targets)
    return targets

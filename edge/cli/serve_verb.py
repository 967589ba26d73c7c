"""posemoe-edge serve"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ...runtime.address import LOOPBACK, Address
from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.errors import CheckFailedError
from ...runtime.serving import ServingLimits, write_repository
from ...runtime.serving.server import find_triton, running_triton
from .ending import ended_by_signals
from .options import FOLDER
from .output import INTERRUPTED, Output, Result, verb
from .triton_verb import limit_options, models_data, print_models

PORT = 8001
"""Where Triton listens for gRPC by itself."""

_FORM = "HOST:PORT, e.g. 127.0.0.1:8001; port 0 takes a free one"


@click.command("serve")
@click.argument("artefact", required=False)
@click.option(
    "--listen",
    default=f"{LOOPBACK}:{PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="Address for gRPC; port 0 takes a free one.",
)
@click.option(
    "--repository",
    type=FOLDER,
    help="Write the models there, and keep them.  [default: a temporary folder]",
)
@click.option("--python", metavar="FILE", help="A Python with nvidia-pytriton, whose Triton is started.")
@click.option("--image", help="A container's image with Triton and posemoe-edge, which docker runs.")
@click.option(
    "--triton-option", multiple=True, metavar="NAME=VALUE", help="An option of tritonserver's own, without its dashes."
)
@limit_options
@verb
def command(
    out: Output,
    artefact: str | None,
    listen: str,
    repository: Path | None,
    python: str | None,
    image: str | None,
    triton_option: tuple[str, ...],
    people: int,
    batch: int,
    idle: float,
    delay_us: int,
    instances: int,
    precision: Precision | None,
    allow_failed: bool,
) -> Result:
    """Serve ARTEFACT, a folder or a shipped one's name, with the Triton of this machine until it is interrupted."""
    address = Address.parse(f"//{listen}", form=_FORM)
    limits = ServingLimits(people=people, batch=batch, idle_s=idle, delay_us=delay_us)
    triton = find_triton(image=image, python=python)
    with ExitStack() as stack:
        ending = stack.enter_context(ended_by_signals())
        folder = repository
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posemoe-edge-models-"))) / "models"
        models = write_repository(
            artefact, folder, limits=limits, precision=precision, allow_failed=allow_failed, instances=instances
        )
        if repository is not None:
            print_models(out, folder, models)
        if not address.is_loopback:
            out.warn(f"whoever reaches {address} can use the server: it asks nobody who they are, see docs/how-to/triton.md")
        out.print(f"starting {triton.what}")
        options = [f"--{option.lstrip('-')}" for option in triton_option]
        code = 0
        data: dict[str, Any] = {"artefact": artefact or DEFAULT_MODEL, "repository": str(repository) if repository else None}
        try:
            with running_triton(triton, folder, models, address, options=options) as running:
                scheme = "grpcs" if any(option.startswith("--grpc-use-ssl") for option in options) else "grpc"
                url = f"{scheme}://{running.address}"
                for model in running.loaded:
                    out.print(f"  {model.name} runs on {model.backend}: {model.what}")
                for model in running.left_out:
                    out.print(f"  {model.name} is left out: this Triton has no backend {model.backend}")
                out.print(f"ready at {url}: {command_line('run', 'camera0', '--server', url)}")
                data |= {
                    "server": url,
                    "triton": triton.what,
                    "models": models_data(running.loaded),
                    "left_out": models_data(running.left_out),
                }
                ready_s = time.monotonic()
                try:
                    exit_code = running.process.wait()
                except KeyboardInterrupt:
                    code = 0 if ending.terminated else INTERRUPTED
                else:
                    raise CheckFailedError(f"Triton ended with {exit_code}:\n{running.log_tail()}", expected="an interruption")
        except KeyboardInterrupt:  # before it was ready
            code = 0 if ending.terminated else INTERRUPTED
        else:
            data["seconds"] = round(time.monotonic() - ready_s, 1)
            out.print("the server has ended")
    return Result(data | {"signal": ending.by.name if ending.by else None}, exit_code=code)

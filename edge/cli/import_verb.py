"""posemoe-edge import"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ...runtime.certificate import REFERENCE
from ...runtime.errors import MissingError, UsageError, missing_extra
from ...runtime.files import sha256
from .config import read_toml
from .output import Output, Result, megabytes, verb

FAMILIES = ("poseretnet", "mixste", "motionbert")


@click.command("import")
@click.argument("family", type=click.Choice(FAMILIES))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--config",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the weights do not tell: num_heads=8, causal=true, dataset=mpii3d_univ; or a .json or .toml of such keys.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; default: ./FAMILY-weights.")
@verb
def command(out_: Output, family: str, file: Path, config: tuple[str, ...], out: Path | None) -> Result:
    """Read an official checkpoint: FILE of a published FAMILY becomes safetensors and a configuration."""
    if not file.is_file():
        raise MissingError(f"there is no checkpoint at {file}", expected=f"an official {family} checkpoint")
    try:
        from ...export.reference import save_reference
        from ..checkpoints import import_official
        from ..official.weights import read_weights
        from ..presets import PRESETS
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "reading a checkpoint") from None
    told: dict[str, Any] = {}
    for entry in config:
        told |= read_config(entry)
    unread: list[str] = []
    model = import_official(family, read_weights(file), told, ignored=unread.extend)
    if unread:
        out_.warn(f"not read of the configuration: {', '.join(unread)}")
    preset = next((p.name for p in PRESETS.values() if p.fits(model.config)), family)
    folder = out or Path(f"{family}-weights")
    folder.mkdir(parents=True, exist_ok=True)
    source = {"imported": family, "file": file.name, "sha256": sha256(file), "config": told}
    save_reference(folder / REFERENCE, model, preset=preset, training=source)
    params, size = sum(p.numel() for p in model.parameters()), (folder / REFERENCE).stat().st_size
    out_.say(
        f"{file.name} is a {family} of {params / 1e6:.2f} M parameters, {model.config.layers} layers of {model.config.dim}"
    )
    out_.say(f"It is the preset {preset}" if preset in PRESETS else "No preset has its shape; the configuration lies beside it")
    out_.say(f"Wrote {folder / REFERENCE} ({megabytes(size)}) and its .json")
    data = {"weights": str(folder / REFERENCE), "family": family, "preset": preset, "params": params}
    return Result(data, next_command=f"posemoe-edge export --weights {folder / REFERENCE}")


def read_config(entry: str) -> dict[str, Any]:
    """``key=value``, or the keys of a file."""
    path = Path(entry)
    if path.suffix == ".json" and path.is_file():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}", expected="an object of keys") from error
        if not isinstance(found, dict):
            raise UsageError(f"{path} holds no object", expected="an object of keys")
        return found
    if path.suffix == ".toml" and path.is_file():
        return read_toml(path)
    key, equals, value = entry.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--config {entry}", expected="KEY=VALUE, or a .json or .toml file that is there")
    try:
        return {key: json.loads(value)}
    except ValueError:
        return {key: value}

"""posemoe-edge import"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...runtime.artefact.certificate import REFERENCE
from ...runtime.artefact.files import sha256
from ...runtime.artefact.room import check_room
from ...runtime.command_line import command_line
from ...runtime.errors import MissingError, UsageError, missing_extra
from ...runtime.file_kind import check_stand_in
from ...runtime.toml_file import read_toml
from .options import FILE
from .output import Output, Result, counted, megabytes, verb

FAMILIES = ("poseretnet", "mixste", "motionbert")
OPTIONS = {
    **dict.fromkeys(FAMILIES, ("config",)),
    "h36m": ("keypoints", "cameras"),
    "3dhp": ("fps",),
    "bvh": ("split", "fps", "unit_m", "stature_m", "up", "mapping"),
}
"""KIND -> the options that only apply to it and to other kinds that list them."""


@click.command("import")
@click.argument("kind", type=click.Choice(list(OPTIONS)))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The .npz, or the folder of weights.  [default: named after KIND]")
@click.option(
    "--config",
    multiple=True,
    metavar="KEY=VALUE",
    help="Options of the published code that weights do not contain: num_heads=8, causal=true, dataset=mpii3d_univ; "
    "or a .json or .toml file of them.",
)
@click.option("--keypoints", type=FILE, help="h36m: data_2d_h36m_gt.npz, or a detector's file.")
@click.option(
    "--cameras",
    type=FILE,
    help="h36m: data_2d_h36m_gt.npz to find the cameras from, or a .json.  [default: the file of --keypoints]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="bvh: split of files in no folder of a split.  [default: train]",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="bvh: frame rate of the clips.  [default: 50]  3dhp: of the test sequences.  [default: 25]",
)
@click.option("--unit-m", type=click.FloatRange(min=0, min_open=True), help="bvh: length of the files' unit in metres.")
@click.option(
    "--stature-m", type=click.FloatRange(min=0, min_open=True), help="bvh: height of the person, instead of --unit-m."
)
@click.option(
    "--up",
    type=click.Choice(["x", "y", "z", "-x", "-y", "-z"]),
    help="bvh: the axis of the files that points up.  [default: the rest pose's]",
)
@click.option(
    "--mapping",
    type=FILE,
    help='bvh: a .json or .toml file of the joints of another skeleton: hip = "Pelvis".',
)
@verb
def command(
    output: Output, kind: str, files: tuple[Path, ...], out: Path | None, config: tuple[str, ...], **options: Any
) -> Result:
    """Convert official checkpoints, published data sets or BVH files; KIND names the format of FILE.

    \b
    poseretnet, mixste, motionbert: a checkpoint becomes safetensors, for export.
    h36m, 3dhp: a data set becomes an .npz of recorded sequences.
    bvh: motion becomes an .npz of clips.
    """
    context = click.get_current_context()
    for name in ("config", *options):
        if name not in OPTIONS[kind] and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            options_of_kind = [f"--{option.replace('_', '-')}" for option in (*OPTIONS[kind], "out")]
            raise UsageError(f"--{name.replace('_', '-')} is no option of import {kind}", expected=" or ".join(options_of_kind))
    if kind in FAMILIES:
        if len(files) > 1:
            raise UsageError(f"{len(files)} files for import {kind}", expected="one checkpoint")
        return _import_weights(output, kind, files[0], config, out or Path(f"{kind}-weights"))
    out = out or Path(f"{kind}.npz")
    inputs = [*files, *(options[name] for name in ("keypoints", "cameras", "mapping") if options[name])]
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise UsageError(f"{out} would overwrite a file that is read", expected="another --out")
    check_room(out.parent, 1_000_000)  # at least: how much the arrays take is known when they are read
    options = {name: options[name] for name in OPTIONS[kind] if options[name] is not None}
    return DATA_IMPORTERS[kind](output, files, out, **options)


def _import_weights(output: Output, family: str, file: Path, config: tuple[str, ...], folder: Path) -> Result:
    if not file.is_file():
        raise MissingError(f"there is no checkpoint at {file}", expected=f"an official {family} checkpoint")
    if folder.is_file():
        raise UsageError(f"--out {folder} is a file", expected="a folder for the weights")
    try:
        from ...export.reference import save_reference
        from ..checkpoints import import_official
        from ..official.weights import read_weights
        from ..presets import PRESETS
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "reading a checkpoint") from None
    check_room(folder, file.stat().st_size)
    options: dict[str, Any] = {}
    for entry in config:
        options |= parse_config(entry)
    unread: list[str] = []
    model = import_official(family, read_weights(file), options, on_ignored=unread.extend)
    if unread:
        output.warn(f"ignored options of the configuration: {', '.join(unread)}")
    preset = next((p.name for p in PRESETS.values() if p.fits(model.config)), family)
    folder.mkdir(parents=True, exist_ok=True)
    source = {"imported": family, "file": file.name, "sha256": sha256(file), "config": options}
    save_reference(folder / REFERENCE, model, preset=preset, training=source)
    params, size = sum(p.numel() for p in model.parameters()), (folder / REFERENCE).stat().st_size
    output.print(
        f"{file.name} is a {family} of {params / 1e6:.2f} M parameters, {model.config.layers} layers of {model.config.dim}"
    )
    output.print(
        f"It is the preset {preset}" if preset in PRESETS else "No preset has its shape; the configuration lies beside it"
    )
    output.print(f"Wrote {folder / REFERENCE} ({megabytes(size)}) and its .json")
    data = {"weights": str(folder / REFERENCE), "family": family, "preset": preset, "params": params}
    return Result(data, next_command=command_line("export", "--weights", folder / REFERENCE))


def _import_h36m(
    output: Output, files: tuple[Path, ...], out: Path, *, keypoints: Path | None = None, cameras: Path | None = None
) -> Result:
    from ..data import h36m

    if len(files) > 1 or keypoints is None:
        raise UsageError(
            "Human3.6M consists of two files", expected="import h36m data_3d_h36m.npz --keypoints data_2d_h36m_gt.npz"
        )
    report = h36m.convert(files[0], keypoints, out, cameras=cameras)
    for subject, errors in report.error_px.items():
        per_camera = ", ".join(f"{error:.2g}" for error in errors)
        output.print(f"  {subject:<4} median distance of keypoints from positions, by camera: {per_camera} px")
    result = _report(output, "h36m", out, ((entry.split, entry.frames) for entry in report.saved), noun="recorded sequence")
    result.data["error_px"] = {subject: list(errors) for subject, errors in report.error_px.items()}
    return result


def _import_3dhp(output: Output, files: tuple[Path, ...], out: Path, *, fps: float | None = None) -> Result:
    from ..data import mpi3dhp

    saved = mpi3dhp.convert(files, out, fps_test=fps or mpi3dhp.TEST_FPS)
    return _report(output, "3dhp", out, ((entry.split, entry.frames) for entry in saved), noun="recorded sequence")


def _import_bvh(output: Output, files: tuple[Path, ...], out: Path, *, mapping: Path | None = None, **options: Any) -> Result:
    from ..data.bvh_clips import load_bvh_files
    from ..data.mocap import save_clips

    if mapping is not None:
        options["mapping"] = read_mapping(mapping)
    clips = load_bvh_files(*files, **options)
    save_clips(out, clips)
    return _report(output, "bvh", out, ((clip.split, len(clip)) for clip in clips), noun="clip")


DATA_IMPORTERS: dict[str, Callable[..., Result]] = {"h36m": _import_h36m, "3dhp": _import_3dhp, "bvh": _import_bvh}


def _report(output: Output, kind: str, out: Path, parts: Iterable[tuple[str, int]], *, noun: str) -> Result:
    """Print and return how many sequences or clips, and frames, were written in each split."""
    splits: dict[str, dict[str, int]] = {}
    for split, frames in parts:
        count = splits.setdefault(split, {"sequences": 0, "frames": 0})
        count["sequences"] += 1
        count["frames"] += frames
    for split, count in splits.items():
        output.print(f"  {split:<6} {counted(count['sequences'], noun)}, {counted(count['frames'], 'frame')}")
    output.print(f"Wrote {out} ({megabytes(out.stat().st_size)})")
    data = {"data": str(out), "kind": kind, "splits": splits}
    verb_and_split = ("train",) if "train" in splits else ("eval",) if "test" in splits else ("eval", "--split", "val")
    return Result(data, next_command=command_line(*verb_and_split, "--data", out))


def parse_config(entry: str) -> dict[str, Any]:
    """The keys and values of one ``--config``: ``key=value``, or a .json or .toml file."""
    path = Path(entry)
    if path.suffix in (".json", ".toml") and path.is_file():
        return _read_table(path)
    key, equals, value = entry.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--config {entry}", expected="KEY=VALUE, or a .json or .toml file that exists")
    try:
        return {key: json.loads(value)}
    except (ValueError, RecursionError):
        return {key: value}


def read_mapping(path: Path) -> dict[str, Any]:
    """The file of ``--mapping``: Human3.6M's joints, each as the name of a joint, or as names with weights."""
    if not path.is_file():
        raise MissingError(f"there is no mapping {path}", expected="a .json or .toml file")
    table = _read_table(path)
    for joint, row in table.items():
        weights = list(row.values()) if isinstance(row, dict) else []
        numbers = bool(weights) and all(isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights)
        if not (isinstance(row, str) or numbers):
            raise UsageError(f"{path}: {joint} is {row!r}", expected='a joint of the file, or {"LThigh": 0.5, "RThigh": 0.5}')
    return table


def _read_table(path: Path) -> dict[str, Any]:
    """The keys and values of a .json or .toml file."""
    if path.suffix != ".json":
        return read_toml(path)
    check_stand_in(path, expected="an object of keys", text=True, error=UsageError)
    try:
        values = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", expected="an object of keys") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no object", expected="an object of keys")
    return values

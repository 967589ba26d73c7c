"""posemoe-edge inspect"""

from __future__ import annotations

import click

from ...runtime.certificate import read_certificate
from ...runtime.errors import UsageError
from ...runtime.manifest import check_file, read_manifest
from ...runtime.model import find_artefact
from .output import Output, Result, megabytes, verb
from .verify_verb import tell


@click.command("inspect")
@click.argument("artefact", required=False)
@verb
def command(out: Output, artefact: str | None) -> Result:
    """What ARTEFACT is; checks every file of it against the manifest. Default: the shipped one."""
    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
    out.say(f"{manifest.preset}: {manifest.parameters / 1e6:.2f} M parameters, {manifest.mixer}, mode {manifest.mode}")
    out.say(f"  {manifest.skeleton} joints, keypoints by {manifest.keypoint_recipe}, {manifest.units}, {manifest.fps:g} Hz")
    out.say(f"  latency {manifest.latency_frames} frames, state {megabytes(manifest.state_bytes)} a stream")
    for graph in manifest.graphs:
        out.say(f"\n{graph.file}: opset {graph.opset}, FP32 islands: {graph.fp32_islands}")
        for kind, tensors in (("in ", graph.inputs), ("out", graph.outputs)):
            for tensor in tensors:
                shape = " x ".join(map(str, tensor.shape))
                out.say(f"  {kind} {tensor.name:<12}{tensor.dtype:<9}{shape:<26}{tensor.meaning}")
    out.say("\nfiles, each as the manifest says:")
    for name, record in manifest.files.items():
        out.say(f"  {name:<26}{megabytes(record.bytes):>10}  {record.sha256[:16]}")
    if certificate is None:
        out.say("\nnot certified")
    else:
        out.say(f"\ncertificate: {certificate.motion.frames} frames of {certificate.motion.kind}")
        tell(out, certificate)
    data = {
        "artefact": str(folder),
        **manifest.model_dump(mode="json"),
        "certificate": certificate.model_dump(mode="json") if certificate else None,
    }
    return Result(data, next_command=f"posemoe-edge run synthetic://walk --model {folder}")

"""posemoe-edge doctor"""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from ...runtime.engines import open_engine
from ...runtime.errors import PoseEdgeError
from ...runtime.manifest import check_file, read_manifest
from ...runtime.model import find_artefact
from ...runtime.sources import list_cameras
from .output import Output, Result, verb

# extra -> the packages it needs here: (what is imported, what is installed), and what it is for
EXTRAS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "cpu": ("running on any CPU", (("onnxruntime", "onnxruntime"),)),
    "camera": ("cameras, videos, MoveNet", (("cv2", "opencv-python-headless"), ("ai_edge_litert", "ai-edge-litert"))),
    "plot": ("pictures", (("matplotlib", "matplotlib"),)),
    "export": (
        "export and verify",
        (
            ("torch", "torch"),
            ("onnx", "onnx"),
            ("onnxscript", "onnxscript"),
            ("onnxsim", "onnxsim"),
            ("safetensors", "safetensors"),
            ("matplotlib", "matplotlib"),
        ),
    ),
}


@click.command("doctor")
@verb
def command(out: Output) -> Result:
    """What is installed here and what is missing, with the command that mends it. Exit code 3 if nothing can run."""
    out.say(
        f"posemoe-edge {version('posemoe-edge')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    extras = {}
    for extra, (purpose, packages) in EXTRAS.items():
        found = {installed: _version(imported, installed) for imported, installed in packages}
        missing = [name for name, have in found.items() if have is None]
        extras[extra] = {"for": purpose, "packages": found, "ok": not missing}
        have = ", ".join(f"{name} {number}" for name, number in found.items() if number)
        out.say(f"  {'ok     ' if not missing else 'missing'} {extra:<8}{purpose:<26}{have}")
        if missing:
            out.say(f'          no {", ".join(missing)}; run: pip install "posemoe-edge[{extra}]"')
    cameras = list_cameras()
    seen = ", ".join(cameras) or "posemoe-edge run synthetic://walk needs none"
    out.say(f"  {'ok     ' if cameras else 'none   '} cameras {seen}")
    artefact, engine = _default_artefact()
    state, trouble = ("broken ", f": {artefact['error']}") if artefact["error"] else ("ok     ", "")
    out.say(f"  {state} model   {artefact['path']}{trouble}")
    out.say(f"  {'ok     ' if engine['ok'] else 'missing'} engine  {engine['name'] or engine['error']}")
    ready = bool(engine["ok"])
    data = {
        "version": version("posemoe-edge"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "extras": extras,
        "cameras": cameras,
        "default_artefact": artefact,
        "engine": engine,
        "ready": ready,
    }
    return Result(
        data, exit_code=0 if ready else 3, next_command="posemoe-edge run synthetic://walk --frames 200" if ready else None
    )


def _default_artefact() -> tuple[dict[str, object], dict[str, object]]:
    """Whether the shipped artefact is whole, and which engine opens it."""
    folder = find_artefact(None)
    try:
        manifest = read_manifest(folder)
        paths = {name: check_file(folder, manifest, name) for name in manifest.files}
    except PoseEdgeError as error:
        return {"path": str(folder), "error": str(error)}, {"ok": False, "name": None, "error": "no model to open"}
    found: dict[str, object] = {"path": str(folder), "error": None}
    try:
        return found, {"ok": True, "name": open_engine(paths[manifest.graph().file]).name, "error": None}
    except PoseEdgeError as error:
        return found, {"ok": False, "name": None, "error": str(error)}


def _version(imported: str, installed: str) -> str | None:
    if importlib.util.find_spec(imported) is None:
        return None
    try:
        return version(installed)
    except PackageNotFoundError:
        return "present"

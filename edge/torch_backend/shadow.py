"""TorchReference: the PyTorch reference as the shadow of a live run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...calib.measure.budget import DEFAULT_BUDGET
from ...export.lifter import ExportableLifter
from ...runtime.arrays import F32
from ...runtime.artefact.certificate import find_reference, read_certificate
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import read_manifest
from ...runtime.errors import ArtefactError
from ...runtime.shadow import Shadow
from ...runtime.state import StreamState
from ..checkpoints import load_reference


class TorchReference:
    """The PyTorch model that lifts spans of a stream: a ``runtime.shadow.Reference``.

    Its state is that of the step graph, packed in the same way. It limits PyTorch in the whole process to one thread, so that
    the other cores are left to the engine.
    """

    def __init__(self, model: ExportableLifter) -> None:
        self._model = model

    def lift(self, keypoints: F32, dt_s: F32, reset: NDArray[np.bool_], state: StreamState | None) -> tuple[F32, StreamState]:
        torch.set_num_threads(1)
        x, dt, clear = (torch.from_numpy(array[None]) for array in (keypoints, dt_s, reset))
        # A causal lifter may take all frames in one chunk. With lookahead, a frame of a chunk would see more than a step does.
        chunk = 1 if self._model.config.lookahead else len(keypoints)
        poses = []
        with torch.inference_mode():
            carried = self._model.initial_state(1) if state is None else torch.from_numpy(state[0][None])
            for start in range(0, len(keypoints), chunk):
                frames = slice(start, start + chunk)
                y, carried = self._model.chunk(x[:, frames], carried, dt[:, frames], clear[:, frames])
                poses.append(y[0].numpy())
        return np.concatenate(poses), (carried[0].numpy(),)


def shadow_of(artefact: str | Path | None = None, **options: Any) -> Shadow:
    """A shadow by an artefact's own reference weights, with the budget of its certificate, or the default of ``verify``.

    Args:
        artefact: as in ``load``; a folder with reference weights.
        options: of ``Shadow``.
    """
    path = find_artefact(artefact)
    if path.is_file():
        raise ArtefactError(
            f"{path} is a standalone ONNX file, without reference weights",
            expected="an artefact's folder",
            run="posemoe-edge export",
        )
    manifest = read_manifest(path)
    weights = find_reference(path, manifest)
    certificate = read_certificate(path, manifest)
    budget = certificate.budget if certificate else DEFAULT_BUDGET
    return Shadow(TorchReference(load_reference(weights)), **{"budget": budget, **options})

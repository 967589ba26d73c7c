"""The PyTorch reference as a live run's shadow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...calib.measure.budget import DEFAULT_BUDGET
from ...export.lifter import ExportableLifter
from ...runtime.artefact.certificate import find_reference, read_certificate
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import read_manifest
from ...runtime.errors import ArtefactError
from ...runtime.shadow import Shadow
from ...runtime.state import Memory
from ..checkpoints import load_reference

Floats = NDArray[np.float32]


class TorchReference:
    """A network in eval mode that lifts spans of a stream: a ``runtime.shadow.Reference``.

    Its memory is the state of the step graph, packed as there. It holds PyTorch, of the whole process, to one thread: the
    other cores are the engine's.
    """

    def __init__(self, model: ExportableLifter) -> None:
        self._model = model

    def lift(self, keypoints: Floats, dt_s: Floats, reset: NDArray[np.bool_], memory: Memory | None) -> tuple[Floats, Memory]:
        torch.set_num_threads(1)
        x, dt, new = (torch.from_numpy(array[None]) for array in (keypoints, dt_s, reset))
        # A causal lifter's steps may be taken together; one with lookahead would see more than its steps do.
        together = 1 if self._model.config.lookahead else len(keypoints)
        poses = []
        with torch.inference_mode():
            state = self._model.initial_state(1) if memory is None else torch.from_numpy(memory[0][None])
            for start in range(0, len(keypoints), together):
                now = slice(start, start + together)
                y, state = self._model.chunk(x[:, now], state, dt[:, now], new[:, now])
                poses.append(y[0].numpy())
        return np.concatenate(poses), (state[0].numpy(),)


def shadow_of(artefact: str | Path | None = None, **options: Any) -> Shadow:
    """A shadow by an artefact's own reference, judged by the budget of its certificate (without one, ``verify``'s default).

    Args:
        artefact: as in ``load``; a folder with reference weights.
        options: of ``Shadow``.
    """
    path = find_artefact(artefact)
    if path.is_file():
        raise ArtefactError(
            f"{path} is a lone graph, without reference weights", expected="an artefact's folder", run="posemoe-edge export"
        )
    manifest = read_manifest(path)
    weights = find_reference(path, manifest)
    certificate = read_certificate(path, manifest)
    budget = certificate.budget if certificate else DEFAULT_BUDGET
    return Shadow(TorchReference(load_reference(weights)), **{"budget": budget, **options})

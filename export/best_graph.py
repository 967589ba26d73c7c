"""The search for an artefact's best precision on this machine, for ``export --precision auto``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..calib.measure.recording import Recording
from ..calib.quantize.precision_choice import PrecisionChoice, choose_precision
from ..runtime.artefact.certificate import Budget
from ..runtime.artefact.manifest import read_manifest, replace_files


def keep_best_graph(folder: Path, recordings: Sequence[Recording], budget: Budget) -> PrecisionChoice:
    """Choose the fastest graph within the budget on this machine, and remove all others but fp32 from the artefact.

    The manifest then prefers the chosen precision.
    """
    manifest = read_manifest(folder)
    choice = choose_precision(folder, manifest, recordings, budget)
    graphs = tuple(graph for graph in manifest.graphs if graph.precision in ("fp32", choice.precision))
    removed = {graph.file for graph in manifest.graphs} - {graph.file for graph in graphs}
    manifest = manifest.model_copy(update={"graphs": graphs, "preferred": choice.precision})
    replace_files(folder, manifest, {}, drop=removed)
    return choice

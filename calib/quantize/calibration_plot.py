"""The plot of a calibration: the most sensitive layers."""

from __future__ import annotations

from ...runtime.plotting import Bars
from .calibration import Calibration

LAYERS_SHOWN = 40


def sensitivity_bars(calibration: Calibration) -> Bars:
    """The most sensitive layers first, coloured by their precision in the mixed graph."""
    ranked = sorted(calibration.layers, key=lambda layer: -(layer.sensitivity_mm or 0.0))[:LAYERS_SHOWN]
    int8 = sum(layer.mixed_precision == "int8" for layer in calibration.layers)
    return Bars(
        values={
            layer.name: {"INT8" if layer.mixed_precision == "int8" else "left in FP16": layer.sensitivity_mm or 0.0}
            for layer in ranked
        },
        title=f"What each layer alone in INT8 does; {int8} of {len(calibration.layers)} are INT8 in the mix",
        x_label=f"mean drift of the pose, for the {len(ranked)} most sensitive layers (mm)",
    )

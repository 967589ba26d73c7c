"""The artefact without our runtime: ONNX Runtime, numpy, and the state carried by hand, as a C++ or ROS node would do it.

    python examples/own_onnx_loop.py

posemoe_edge is imported to find the shipped artefact, and for nothing else. Prints lines of the form:

    frame 0: right wrist at [ 0.1   0.02 -0.05] m from the hip
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime


def shipped_artefact() -> Path:
    from posemoe_edge.runtime.artefact.locate import find_artefact

    return find_artefact()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a step artefact's folder; default: the shipped one")
    folder = parser.parse_args().model or shipped_artefact()
    manifest = json.loads((folder / "manifest.json").read_text())
    graph = next(g for g in manifest["graphs"] if g["precision"] == "fp32")

    session = onnxruntime.InferenceSession(str(folder / graph["file"]), providers=["CPUExecutionProvider"])
    carried = {entry["input"]: entry["output"] for entry in graph["states"]}
    state = {s["input"]: np.zeros((1, *s["shape"][1:]), s["dtype"]) for s in graph["states"]}  # "initial": "zeros"
    outputs = [tensor["name"] for tensor in graph["outputs"]]
    dt = np.array([1 / manifest["fps"]], np.float32)  # of the first frame; then what the frames' times say

    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(-0.3, 0.3, (1, 17, 2)), np.ones((1, 17, 1))], axis=-1).astype(np.float32)
    for n in range(5):
        feed = {"keypoints": keypoints, "dt": dt, "reset": np.array([n == 0]), **state}
        results = dict(zip(outputs, session.run(outputs, feed), strict=True))
        state = {name: results[output] for name, output in carried.items()}
        print(f"frame {n}: right wrist at {results['pose'][0, 16].round(3)} m from the hip")


if __name__ == "__main__":
    main()

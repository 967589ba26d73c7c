"""From a checkpoint to a robot's board: export and certify here, build and run there. Needs the extra export.

    python examples/checkpoint_to_jetson.py [CHECKPOINT.safetensors]

CHECKPOINT is of ``posemoe-edge train`` or ``import``; without one it is the shipped model's. Prints:

    frame-retention-s: step graphs fp32, fp16
    certified: fp32 0.0... mm, fp16 0.0... mm from the checkpoint on average
    on the board:
      python3 -m venv ...
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from posemoe_edge.runtime.artefact.locate import find_artefact

# What is left to the board, since a plan fits one GPU and one TensorRT; docs/how-to/jetson.md says more.
ON_THE_BOARD = """\
  python3 -m venv --system-site-packages ~/posemoe && source ~/posemoe/bin/activate
  pip install "posemoe-edge[cpu,camera]" "cuda-bindings==12.*"
  posemoe-edge doctor
  posemoe-edge build {artefact} --precision fp16
  posemoe-edge run camera0 --model {artefact} --engine tensorrt --sink ros2://posemoe"""


def posemoe_edge(*arguments: str) -> Any:
    """The JSON of a verb of the command line, whose text goes to stderr."""
    command = [sys.executable, "-c", "from posemoe_edge.edge.cli.main import main; main()", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    checkpoint = Path(sys.argv[1]) if sys.argv[1:] else find_artefact() / "reference.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        artefact = f"{folder}/robot"
        posemoe_edge("export", "--weights", str(checkpoint), "--precision", "fp16", "--out", artefact)
        manifest = json.loads(Path(artefact, "manifest.json").read_text())
        graphs = manifest["graphs"]
        print(f"{manifest['preset']}: {graphs[0]['mode']} graphs {', '.join(graph['precision'] for graph in graphs)}")
        certificate = posemoe_edge("verify", artefact, "--frames", "100", "--streams", "1")  # 3,000 of 4 for a real one
        drifts = [f"{drift['precision']} {drift['measured']['mean_mm']:.4f} mm" for drift in certificate["drifts"]]
        print(f"certified: {', '.join(drifts)} from the checkpoint on average")
    print("on the board:")
    print(ON_THE_BOARD.format(artefact="robot"))


if __name__ == "__main__":
    main()

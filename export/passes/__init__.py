"""Passes over an exported ONNX graph: an ordered list, each with its tolerance and its own check."""

from .contract import FORBIDDEN_OPS, check_contract, contract_pass
from .graph_pass import GraphPass
from .metadata import STRIP_METADATA
from .names import NAME_NODES
from .runner import run_passes
from .simplify import SIMPLIFY

# In this order: the names come from metadata that simplification loses, and what is left of the metadata goes last.
PASSES: tuple[GraphPass, ...] = (NAME_NODES, SIMPLIFY, STRIP_METADATA)

__all__ = [
    "FORBIDDEN_OPS",
    "NAME_NODES",
    "PASSES",
    "SIMPLIFY",
    "STRIP_METADATA",
    "GraphPass",
    "check_contract",
    "contract_pass",
    "run_passes",
]

"""Passes over an exported ONNX graph: an ordered list, each with its tolerance and its own check."""

from collections.abc import Collection

from .broadcasts import DROP_EXPANDS
from .contract import FORBIDDEN_OPS, check_contract, contract_pass
from .graph_pass import GraphPass
from .metadata import STRIP_METADATA
from .names import NAME_NODES
from .products import merge_products_pass
from .rows import TOKENS_AS_ROWS
from .runner import run_passes
from .scales import FOLD_SCALES
from .simplify import SIMPLIFY
from .splits import SPLIT_SLICES
from .views import FOLD_VIEWS


def export_passes(half_layers: Collection[str] = ()) -> tuple[GraphPass, ...]:
    """What an exported graph goes through, in this order.

    The names come from metadata that simplification loses. Linear layers are Gemms before products are merged and scales go
    into weights, and views are folded when nothing more is put between them.

    Args:
        half_layers: see ``merge_products_pass``.
    """
    return (
        NAME_NODES,
        SIMPLIFY,
        STRIP_METADATA,
        DROP_EXPANDS,
        SPLIT_SLICES,
        TOKENS_AS_ROWS,
        merge_products_pass(half_layers),
        FOLD_SCALES,
        FOLD_VIEWS,
    )


__all__ = [
    "DROP_EXPANDS",
    "FOLD_SCALES",
    "FOLD_VIEWS",
    "FORBIDDEN_OPS",
    "NAME_NODES",
    "SIMPLIFY",
    "SPLIT_SLICES",
    "STRIP_METADATA",
    "TOKENS_AS_ROWS",
    "GraphPass",
    "check_contract",
    "contract_pass",
    "export_passes",
    "merge_products_pass",
    "run_passes",
]

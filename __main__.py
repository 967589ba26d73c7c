"""``python -m posemoe_edge``: the program ``posemoe-edge``, where its script is not on the path."""

from __future__ import annotations

from .edge.cli.main import main

if __name__ == "__main__":
    main()

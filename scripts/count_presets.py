"""Write ``edge/presets.json``, the table that ``posemoe-edge models`` prints. Run it when a preset is added or changed.

Run: python scripts/count_presets.py
"""

from __future__ import annotations

import json

from posemoe_edge.edge.preset_table import PRESET_TABLE, preset_row
from posemoe_edge.edge.presets import PRESETS


def main() -> None:
    rows = [preset_row(name) for name in PRESETS]
    PRESET_TABLE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {len(rows)} presets")


if __name__ == "__main__":
    main()

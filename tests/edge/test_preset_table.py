from __future__ import annotations

import json

import pytest
from posemoe_edge.edge.preset_table import preset_row, read_preset_table
from posemoe_edge.edge.presets import PRESETS


def test_the_table_has_every_preset_in_order() -> None:
    assert [row["name"] for row in read_preset_table()] == list(PRESETS), "run scripts/count_presets.py"


@pytest.mark.parametrize("row", read_preset_table(), ids=lambda row: str(row["name"]))
def test_a_row_is_what_counting_gives(row: dict[str, object]) -> None:
    assert row == json.loads(json.dumps(preset_row(str(row["name"])))), "run scripts/count_presets.py"

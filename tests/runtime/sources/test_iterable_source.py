"""Any iterable as a source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.events import SourceLost
from posemoe_edge.runtime.sources import CameraFrame, IterableSource, People, Source, SourceInfo
from posemoe_edge.runtime.sources.base import SourceItem

FRAME = CameraFrame(1.0, np.zeros((4, 6, 3), np.uint8))


def test_items_come_through_unchanged() -> None:
    items: list[SourceItem] = [FRAME, SourceLost(1.0, "gone"), CameraFrame(2.0, FRAME.image_bgr)]
    source = IterableSource(items, pictures=True, fps=10)
    assert isinstance(source, Source) and source.pictures and source.info == SourceInfo("iterable", fps=10)
    assert list(source) == items and list(source) == items


def test_a_live_one_notes_the_arrival() -> None:
    people, known = People(1.0, {}), People(2.0, {}, arrived_s=5.0)
    before_s = time.monotonic()
    first, second = IterableSource([people, known], pictures=False, live=True)
    assert isinstance(first, People) and first.arrived_s is not None and before_s <= first.arrived_s <= time.monotonic()
    assert second is known


@pytest.mark.parametrize(("pictures", "item"), [(True, People(0.0, {})), (False, FRAME), (True, FRAME.image_bgr), (True, None)])
def test_another_thing_than_promised_is_an_error(pictures: bool, item: Any) -> None:
    with pytest.raises(UsageError, match=f"gave a {type(item).__name__}; expected a {'CameraFrame' if pictures else 'People'}"):
        list(IterableSource([item], pictures=pictures))


def test_close_ends_a_generator() -> None:
    ended = []

    def generate() -> Iterator[People]:
        try:
            yield People(0.0, {})
            yield People(1.0, {})
        finally:
            ended.append(True)

    with IterableSource(generate(), pictures=False) as source:
        next(iter(source))
    assert ended == [True]

"""Lower bounds of a launch, measured on this machine."""

from __future__ import annotations

from posemoe_edge.calib.measure.floors import Floors, measure_floors


def test_floors_grow_with_what_is_done() -> None:
    small = measure_floors({(1, 17, 64, 64): 1}, moved_bytes=1 << 16, operators=10)
    large = measure_floors({(1, 544, 256, 256): 20, (64, 17, 8, 17): 10}, moved_bytes=1 << 26, operators=1000)
    assert large.products_ms > 10 * small.products_ms and large.bytes_ms > 10 * small.bytes_ms
    assert large.starts_ms > 10 * small.starts_ms


def test_a_graph_without_products_has_a_floor_of_the_rest() -> None:
    floors = measure_floors({}, moved_bytes=1 << 16, operators=10)
    assert floors.products_ms == 0 and floors.gflop_s == 0 and floors.bound_by in ("bytes", "starts")


def test_the_highest_floor_is_what_binds() -> None:
    floors = Floors(products_ms=0.2, bytes_ms=0.1, starts_ms=0.3, gflop_s=1, gb_s=1, start_us=1)
    assert floors.bound_by == "starts" and max(floors.by_name.values()) == 0.3

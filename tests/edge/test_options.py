from __future__ import annotations

from typing import Any

import pytest
from posemoe_edge.edge.official.options import Options
from posemoe_edge.runtime.errors import UsageError


@pytest.mark.parametrize(
    ("value", "meant"), [(True, True), (0, False), ("False", False), ("true", True), ("1", True), (None, True)]
)
def test_truths_may_be_written_in_any_way_that_people_write_them(value: Any, meant: bool) -> None:
    assert Options({"causal": value}).flag("causal", True) is meant


@pytest.mark.parametrize("value", ["no", 2, "yes", [True], 0.5])
def test_what_is_neither_true_nor_false_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="true or false"):
        Options({"causal": value}).flag("causal", False)


@pytest.mark.parametrize("value", [2.5, "2.5", True, -1, "eight", [8], float("nan"), float("inf")])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="number"):
        Options({"num_heads": value}).whole("num_heads", 8)


@pytest.mark.parametrize("value", [[121, 81], (121, 81), "[121, 81]", "121,81", ["121", 81.0]])
def test_a_list_may_be_text(value: Any) -> None:
    assert Options({"r": value}).wholes("r") == (121, 81)


@pytest.mark.parametrize("value", [5, "5,x", [5.5], {"a": 1}])
def test_what_is_no_list_of_whole_numbers_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="number"):
        Options({"r": value}).wholes("r")


@pytest.mark.parametrize("value", ["coco", ["h36m"], 3])
def test_a_word_is_one_of_those_known(value: Any) -> None:
    with pytest.raises(UsageError, match="one of h36m"):
        Options({"dataset": value}).word("dataset", {"h36m": "h36m17"})


def test_an_absent_key_is_what_is_otherwise() -> None:
    options = Options({})
    assert options.whole("num_heads", 8) == 8 and options.wholes("r") == () and options.word("dataset", {}) is None
    options.agree(3, "depth")


def test_a_size_must_agree() -> None:
    options = Options({"depth": "3"})
    options.agree(3, "depth")
    with pytest.raises(UsageError, match="depth '3'; expected 4, as the weights have it"):
        options.agree(4, "depth")


def test_a_key_that_is_nearly_another_is_a_mistake_and_others_are_listed() -> None:
    options = Options({"num_heads": 8, "dropout": 0.1, "repo": "somewhere"})
    options.whole("num_heads", 8)
    assert options.unread() == ["dropout", "repo"]
    for mistake in ("num_head", "heads", "numheads"):
        options = Options({mistake: 4})
        options.whole("num_heads", 8)
        with pytest.raises(UsageError, match=f"'{mistake}'; expected num_heads"):
            options.unread()

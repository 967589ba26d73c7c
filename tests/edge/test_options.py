from __future__ import annotations

from typing import Any

import pytest
from posemoe_edge.edge.official.options import Options
from posemoe_edge.runtime.errors import UsageError


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (0, False), ("False", False), ("true", True), ("1", True), (None, True)]
)
def test_a_flag_may_be_text_or_a_number(value: Any, expected: bool) -> None:
    assert Options({"causal": value}).flag("causal", True) is expected


@pytest.mark.parametrize("value", ["no", 2, "yes", [True], 0.5])
def test_a_value_that_is_neither_true_nor_false_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="true or false"):
        Options({"causal": value}).flag("causal", False)


@pytest.mark.parametrize("value", [2.5, "2.5", True, -1, "eight", [8], float("nan"), float("inf")])
def test_a_value_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="number"):
        Options({"num_heads": value}).whole_number("num_heads", 8)


@pytest.mark.parametrize("value", [[121, 81], (121, 81), "[121, 81]", "121,81", ["121", 81.0]])
def test_a_list_may_be_text(value: Any) -> None:
    assert Options({"r": value}).whole_numbers("r") == (121, 81)


@pytest.mark.parametrize("value", [5, "5,x", [5.5], {"a": 1}])
def test_a_value_that_is_no_list_of_whole_numbers_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="number"):
        Options({"r": value}).whole_numbers("r")


@pytest.mark.parametrize("value", ["coco", ["h36m"], 3])
def test_a_choice_is_one_of_the_known_values(value: Any) -> None:
    with pytest.raises(UsageError, match="one of h36m"):
        Options({"dataset": value}).choice("dataset", {"h36m": "h36m17"})


def test_an_absent_key_has_its_default() -> None:
    options = Options({})
    assert options.whole_number("num_heads", 8) == 8
    assert options.whole_numbers("r") == ()
    assert options.choice("dataset", {}) is None
    options.require(3, "depth")


def test_a_size_must_agree_with_the_weights() -> None:
    options = Options({"depth": "3"})
    options.require(3, "depth")
    with pytest.raises(UsageError, match="depth '3'; expected 4, as the weights have it"):
        options.require(4, "depth")


def test_a_misspelt_key_is_an_error_and_other_unread_keys_are_listed() -> None:
    options = Options({"num_heads": 8, "dropout": 0.1, "repo": "somewhere"})
    options.whole_number("num_heads", 8)
    assert options.unread_keys() == ["dropout", "repo"]
    for misspelt in ("num_head", "heads", "numheads"):
        options = Options({misspelt: 4})
        options.whole_number("num_heads", 8)
        with pytest.raises(UsageError, match=f"'{misspelt}'; did you mean num_heads"):
            options.unread_keys()

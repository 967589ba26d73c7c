"""Options behind a place: read, and refused without repeating what may be a password."""

from __future__ import annotations

import pytest
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.location import split_location, switched_on

FORM = "NAME?frame_id=NAME"


def test_a_location_is_a_place_and_its_options() -> None:
    assert split_location("a/b.mcap", ["frame_id"], form=FORM) == ("a/b.mcap", {})
    assert split_location("x?frame_id=a%20b&on=1", ["frame_id", "on"], form=FORM) == ("x", {"frame_id": "a b", "on": "1"})
    assert split_location("//h:1?ca=/opt/c++/ca.pem", ["ca"], form=FORM) == ("//h:1", {"ca": "/opt/c++/ca.pem"})
    assert split_location("?on=1", ["on"], form=FORM) == ("", {"on": "1"})


@pytest.mark.parametrize(
    ("query", "message"), [("frame=1", "did you mean frame_id"), ("frame_id=", "no value"), ("frame_id", "no value")]
)
def test_an_option_that_is_none_is_an_error_which_does_not_repeat_the_place(query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        split_location(f"user:secret@host?{query}", ["frame_id"], form=FORM)
    assert "secret" not in str(error.value)


def test_a_switch_is_on_or_off() -> None:
    assert switched_on({"x": "on"}, "x", default=False) and not switched_on({"x": "off"}, "x", default=True)
    assert switched_on({}, "x", default=True) and not switched_on({}, "x", default=False)
    with pytest.raises(UsageError, match="x=on or x=off"):
        switched_on({"x": "1"}, "x", default=False)

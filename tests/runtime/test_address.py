"""An address is read and written, and what is none is an error."""

from __future__ import annotations

import pytest
from posemoe_edge.runtime import UsageError
from posemoe_edge.runtime.address import Address

FORM = "HOST:PORT"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9464", Address("127.0.0.1", 9464)), ("robot:0", Address("robot", 0)), ("[::1]:80", Address("::1", 80))],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert Address.parse(f"//{text}", form=FORM) == address and str(address) == text


@pytest.mark.parametrize("text", ["", "9464", ":9464", "host", "host:", "host:x", "host:65536", "host:-1", "::1:80", "host:²"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        Address.parse(f"//{text}", form=FORM)

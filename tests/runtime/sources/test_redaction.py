"""Credentials never appear."""

from __future__ import annotations

import pytest
from posemoe_edge.runtime.sources.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://10.0.0.5:554/h264/ch1", "rtsp://10.0.0.5:554/h264/ch1"),
        ("rtsp://admin:SECRET@10.0.0.5/ch1", "rtsp://***@10.0.0.5/ch1"),
        ("rtsp://admin@10.0.0.5/ch1", "rtsp://***@10.0.0.5/ch1"),
        ("rtsp://admin:SEC@RET/S?x@10.0.0.5/ch1", "rtsp://***@10.0.0.5/ch1"),
        ("rtsp://h/s?channel=1&password=SECRET&subtype=0", "rtsp://h/s?channel=1&password=***&subtype=0"),
        ("rtsp://h/s?access_token=SECRET", "rtsp://h/s?access_token=***"),
        ("rtsp://h/user=SECRET&password=SECRET&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("no answer from 'rtsp://a:SECRET@h/s', gave up", "no answer from 'rtsp://***@h/s', gave up"),
    ],
)
def test_a_url_is_shown_without_its_credentials(text: str, shown: str) -> None:
    assert redacted(text) == shown and "SECRET" not in shown
    assert redacted(shown) == shown

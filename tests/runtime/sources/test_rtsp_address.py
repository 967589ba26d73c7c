"""The address of a network camera: options, credentials, and what does not answer."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest
from posemoe_edge.runtime.errors import MissingError, SourceError, UsageError
from posemoe_edge.runtime.sources import open_source
from posemoe_edge.runtime.sources.rtsp import split_options


def test_our_options_are_taken_out_and_the_cameras_stay() -> None:
    url = "rtsp://me:p%40ss@10.0.0.5/cam?channel=1&clock=sender&subtype=0&backend=gstreamer&x&transport=udp"
    assert split_options(url) == (
        "rtsp://me:p%40ss@10.0.0.5/cam?channel=1&subtype=0&x",
        {"clock": "sender", "backend": "gstreamer", "transport": "udp"},
    )
    assert split_options("rtsp://10.0.0.5/cam?clock=arrival")[0] == "rtsp://10.0.0.5/cam"


def test_a_misspelt_option_is_an_error_without_the_password() -> None:
    with pytest.raises(UsageError, match=r"did you mean sender.*expected clock=arrival or sender") as caught:
        open_source("rtsp://me:SECRET@10.0.0.5/cam?clock=sendr")
    assert "SECRET" not in str(caught.value)


def test_a_dead_port_ends_at_once_without_the_password(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            open_source(f"rtsp://me:SECRET@127.0.0.1:{unused.getsockname()[1]}/cam?token=SECRET") as source,
            pytest.raises(
                SourceError, match=r"rtsp://\*\*\*@127.0.0.1:\d+/cam\?token=\*\*\* cannot be opened: connection"
            ) as caught,
        ):
            _ = source.info
    assert "SECRET" not in str(caught.value) + repr(caught.value.__cause__)
    assert capfd.readouterr().err == ""


def test_a_server_that_says_nothing_ends_within_the_timeout() -> None:
    pytest.importorskip("av")
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start_s = time.monotonic()
        with (
            open_source(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam") as source,
            pytest.raises(SourceError, match="cannot be opened: no answer within 3 s"),
        ):
            list(source)
        assert time.monotonic() - start_s < 8
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("uri", ["csi://0", "rtsp://127.0.0.1:9/cam?backend=gstreamer"])
def test_without_gstreamer_the_packages_are_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(MissingError, match=r"module gi.*run: sudo apt-get install python3-gi"):
        _ = open_source(uri).info

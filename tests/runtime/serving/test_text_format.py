"""Protobuf's text format is read back by protobuf itself."""

from __future__ import annotations

import pytest
from posemoe_edge.runtime.serving.text_format import text_format


@pytest.mark.parametrize("text", ['{"a": "b\\n"}', "back\\slash", "two\nlines", "\r\t", "größer", ""])
def test_every_string_survives(text: str) -> None:
    pytest.importorskip("tritonclient.grpc")
    from google.protobuf import text_format as protobuf
    from tritonclient.grpc import model_config_pb2

    written = text_format({"parameters": {"key": "k", "value": {"string_value": text}}})
    assert protobuf.Parse(written, model_config_pb2.ModelConfig()).parameters["k"].string_value == text

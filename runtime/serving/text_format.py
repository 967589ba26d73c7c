"""Protobuf's text format, as far as a model's configuration needs it: written here, so that no protobuf has to be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Word(str):
    """An enum's value, which stands without quotes."""


Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]


def text_format(fields: Mapping[str, Value], indent: str = "") -> str:
    r"""A message in text format, a field in a line. A sequence is a repeated field; an empty mapping is an empty message.

    >>> print(text_format({"name": "a \"b\"", "dims": [17, 3], "kind": Word("KIND_CPU"), "group": {"count": 1}}), end="")
    name: "a \"b\""
    dims: 17
    dims: 3
    kind: KIND_CPU
    group {
      count: 1
    }
    """
    lines = []
    for name, value in fields.items():
        for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if isinstance(item, Mapping):
                inner = text_format(item, f"{indent}  ")
                lines.append(f"{indent}{name} {{\n{inner}{indent}}}\n" if inner else f"{indent}{name} {{ }}\n")
            else:
                lines.append(f"{indent}{name}: {_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: Value) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
        return f'"{escaped}"'
    return str(value)

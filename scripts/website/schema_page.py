"""The page of the artefact's schemas: every record with its fields, from pydantic and the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from posemoe_edge.calib.quantize.calibration import CALIBRATION, CALIBRATION_SCHEMA, Calibration
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE, CERTIFICATE_SCHEMA, Certificate
from posemoe_edge.runtime.artefact.manifest import MANIFEST, MANIFEST_SCHEMA, Manifest
from posemoe_edge.runtime.artefact.record import Record
from posemoe_edge.runtime.artefact.signature import SIGNATURE, SIGNATURE_SCHEMA, Signature
from posemoe_edge.runtime.engines.tensorrt.plan import FOLDER, PLAN_SCHEMA, SideCar

PAGE = "reference/schemas.md"
_INTRO = """# Schemas

The fields of an artefact's JSON files, as this version writes them. [The artefact](artefact.md) explains the files, and
[the history](schema-history.md) what changed between versions. An unknown or missing field is an error that names it.
"""

FILES: dict[str, tuple[type[Record], int]] = {
    MANIFEST: (Manifest, MANIFEST_SCHEMA),
    CERTIFICATE: (Certificate, CERTIFICATE_SCHEMA),
    CALIBRATION: (Calibration, CALIBRATION_SCHEMA),
    f"{FOLDER}/*.json": (SideCar, PLAN_SCHEMA),
    SIGNATURE: (Signature, SIGNATURE_SCHEMA),
}
"""A file of an artefact -> the record that is in it, and the version of its schema."""

_JSON = {str: "string", int: "integer", float: "number", bool: "true or false", Any: "any"}
_ENTRY = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<meaning>.+(?:\n     +.+)*)", re.MULTILINE)


def schema_page() -> str:
    """The page's text. A record that several files have is described once."""
    described: set[type[Record]] = set()
    sections = []
    for file, (record, version) in FILES.items():
        sections.append(f"\n## {file}\n\nSchema {version}.\n")
        for kind in _with_parts(record):
            if kind not in described:
                described.add(kind)
                sections.append(_section(kind))
    return _INTRO + "".join(sections)


def records_of_artefacts() -> list[type[Record]]:
    """Every record on the page, once."""
    return list(dict.fromkeys(part for record, _ in FILES.values() for part in _with_parts(record)))


def meanings(record: type[Record]) -> dict[str, str]:
    """The fields that the record's docstring describes under ``Args``, and in which words."""
    found = {}
    for match in _ENTRY.finditer(inspect.getdoc(record) or ""):
        for name in match["names"].split(", "):
            found[name] = re.sub(r"\s+", " ", match["meaning"])
    return found


def _with_parts(record: type[Record]) -> Iterator[type[Record]]:
    """A record, and those in it."""
    yield record
    for field in record.model_fields.values():
        for part in _records(field.annotation):
            yield from _with_parts(part)


def _records(annotation: Any) -> Iterator[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        yield annotation
    for argument in get_args(annotation):
        yield from _records(argument)


def _section(record: type[Record]) -> str:
    summary = re.split(r"\n\s*\n", inspect.getdoc(record) or "")
    prose = "\n\n".join(paragraph for paragraph in summary if not paragraph.startswith("Args:"))
    described, rows = meanings(record), []
    for name, field in record.model_fields.items():
        default = "" if field.is_required() else f" Absent: `{field.get_default(call_default_factory=True)!r}`."
        rows.append(f"| `{name}` | {_type(field.annotation)} | {described.get(name, '')}{default} |".replace("``", "`"))
    table = "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])
    return f"\n### {record.__name__}\n\n{prose}\n\n{table}\n"


def _type(annotation: Any) -> str:
    """A field's type in the terms of JSON, records as links."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (Union, UnionType):
        return " or ".join("null" if argument is NoneType else _type(argument) for argument in arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)}: {', '.join(map(_type, arguments))}"
    if origin is dict:
        return f"object of {_type(arguments[1])}"
    return _JSON[annotation]

"""Records: JSON files that are read back strictly, with older schemas migrated to the current one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..bounds import MOST_JSON_BYTES
from ..errors import ArtefactError


class Record(BaseModel):
    """Base of all records: frozen, and an unknown or missing field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


R = TypeVar("R", bound=Record)
Json = dict[str, Any]
Migration = Callable[[Json], Json]


def read_record(
    kind: type[R],
    text: str | bytes,
    *,
    place: str,
    noun: str,
    version: int,
    migrations: Mapping[int, Migration],
    run: str,
) -> R:
    """A versioned record from its JSON; every kind of file with a ``schema_version`` is read here.

    Args:
        kind: the record's class, of the current version.
        text: the JSON.
        place: the file, as error messages name it.
        noun: what the file should be: "a manifest".
        version: the current ``schema_version``.
        migrations: older version -> function that turns its JSON into the next version's; every version from the oldest
            readable one to the last before ``version``.
        run: the command that writes the file anew.

    Raises:
        ArtefactError: the text is not JSON, its version is unknown, or a field is wrong; the message names the field.
    """
    if len(text) > MOST_JSON_BYTES:
        raise ArtefactError(f"{place} has {len(text)} bytes", expected=f"{noun}, of {MOST_JSON_BYTES} at most", run=run)
    try:
        data = json.loads(text)
        schema = data["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(f"{place} is not {noun} ({error})", expected="JSON with a schema_version", run=run) from error
    readable = (*sorted(migrations), version)
    if type(schema) is not int or schema not in readable:
        raise ArtefactError(f"{place} has schema_version {schema}", expected=" or ".join(map(str, readable)), run=run)
    for older in range(schema, version):
        try:
            data = migrations[older](data)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ArtefactError(f"{place} is not {noun} ({error!r})", expected=f"schema {older}", run=run) from error
    try:
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole record"
        raise ArtefactError(
            f"{place} is not {noun}: field {field}: {first['msg']}", expected=f"schema {version}", run=run
        ) from error

"""What a network for one person in a crop takes and gives, as its maker knows: a TOML file beside it, or a known family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ..artefact.record import Record
from ..errors import ArtefactError, MissingError
from ..toml_file import read_toml

Side = Annotated[int, Field(ge=8, le=4096)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class NetworkDescription(Record):
    """A network that sees one person in a crop of the picture.

    Attributes:
        output: ``simcc`` (two outputs: scores along x, then along y), ``heatmaps`` (N, J, h, w), or ``keypoints``
            (N, J, 2 or 3), x, y and maybe a score.
        skeleton: names and order of the joints.
        size_px: width and height of the crop, where the file leaves them open.
        layout: of the input: ``nchw`` or ``nhwc``.
        colour: order of its channels.
        mean, std: the input is (value - mean) / std for values from 0 to 255, in the order of ``colour``.
        normalised: whether ``keypoints`` go from 0 to 1 across the crop, not in its pixels.
        margin: of the crop around the box of a person's joints.
        min_score: joints with a lower score count as not seen.
    """

    output: Literal["simcc", "heatmaps", "keypoints"]
    skeleton: Literal["coco17", "h36m17"] = "coco17"
    size_px: tuple[Side, Side] | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    std: tuple[Above0, Above0, Above0] = (1.0, 1.0, 1.0)
    normalised: bool = False
    margin: Annotated[float, Field(ge=1, le=4)] = 1.25
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.3


def read_description(path: Path) -> NetworkDescription:
    """The description in a TOML file.

    Raises:
        MissingError: there is no such file.
        ArtefactError: a key is unknown, missing or wrong; the message names it.
        UsageError: it is not TOML.
    """
    if not path.is_file():
        raise MissingError(f"no file {path}", expected='a description of the network beside it, with at least output = "simcc"')
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in read_toml(path).items()}
    try:
        return NetworkDescription.model_validate(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtefactError(
            f"{path}: {key}: {first['msg']}", expected=f"keys among {', '.join(NetworkDescription.model_fields)}"
        ) from None

"""The view: a virtual camera that looks at a person, in which a lifter sees every person alike.

A network that reads raw picture coordinates has to learn each place, size, focal length and roll anew. Here keypoints, which
were normalised by the camera's intrinsics, are rays; the camera is turned about its own centre until its axis meets the person
and the person stands upright in it, and the picture is scaled to the person's size. The pose is turned back into the axes of
the real camera. So turning or zooming the real camera about its own centre changes nothing but the axes of the answer.

A canonical view for lifters was also found to help by others: by known intrinsics (arXiv 2501.16146), by perspective encoding
and rotation (PersPose, arXiv 2508.17239).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ...runtime.pose.camera import NOMINAL_FOCAL
from ...runtime.pose.skeleton import H36M17

VIEW_CHANNELS = 4  # x, y, confidence, log of the person's angular size
SMALLEST_SIZE = 1e-3  # in the view's picture plane, at depth 1: a person of one joint has no size
LEAST_DEPTH = 0.1  # of a unit ray along the view's axis: a ray at more than 84 degrees from it is not projected farther out
SMALLEST_UP = 1e-4  # in directions: below it, nothing says where the person's upper end is

# How high a joint is on an upright body. The direction in the picture in which the height of the joints increases is the view's
# up. Elbows and wrists do not count: they go anywhere.
_HEIGHT = {
    "head": 0.75, "nose": 0.65, "thorax": 0.55, "left_shoulder": 0.5, "right_shoulder": 0.5, "spine": 0.25, "hip": 0.0,
    "left_hip": 0.0, "right_hip": 0.0, "left_knee": -0.45, "right_knee": -0.45, "left_ankle": -0.9, "right_ankle": -0.9,
}  # fmt: skip
HEIGHTS = tuple(_HEIGHT.get(joint, 0.0) for joint in H36M17.joints)
HAS_HEIGHT = tuple(float(joint in _HEIGHT) for joint in H36M17.joints)

_TO_RAY = (1 / NOMINAL_FOCAL, 1 / NOMINAL_FOCAL, 0.0)  # of x, y, confidence


@dataclass(frozen=True, eq=False)
class PersonView:
    """What a lifter sees of each person, and the way back.

    Args:
        keypoints: (..., J, 4) x and y in the view, scaled to the person's size, confidence, log size; 0 where a joint is
            missing (but for the size).
        view_from_camera: (..., 3, 3) rotation; rows are the view's right, down and forward in camera axes.
    """

    keypoints: Tensor
    view_from_camera: Tensor

    def to_camera(self, pose_m: Tensor) -> Tensor:
        """A pose (..., J, 3) in the view's axes, turned into the camera's."""
        return pose_m @ self.view_from_camera


def look_at(keypoints: Tensor) -> PersonView:
    """The view of each person, from keypoints in a picture. A missing joint, of confidence 0, takes no part.

    Args:
        keypoints: (..., J, 3) x and y normalised by the camera, confidence; joints of Human3.6M in its order.
    """
    score = keypoints[..., 2:]
    seen = (score > 0).to(keypoints.dtype)  # (..., J, 1)
    # x / f, y / f, 1
    rays = _unit(keypoints * _constant(_TO_RAY, keypoints) + _constant((0.0, 0.0, 1.0), keypoints))  # (..., J, 3)
    axes = _axes(rays, seen)  # (..., 3, 3)
    across, depth = (rays @ axes.transpose(-1, -2)).split((2, 1), dim=-1)
    points = across / depth.clamp(min=LEAST_DEPTH) * seen
    count = seen.sum(dim=-2, keepdim=True).clamp(min=1.0)
    square = points.square().sum(dim=(-2, -1), keepdim=True) / count
    size = square.clamp(min=SMALLEST_SIZE**2).sqrt()  # (..., 1, 1)
    log_size = size.log().expand_as(score)
    return PersonView(torch.cat([points / size, score * seen, log_size], dim=-1), axes)


def _axes(rays: Tensor, seen: Tensor) -> Tensor:
    """(..., 3, 3) right, down and forward of the camera that looks at these unit rays (..., J, 3)."""
    ahead = _constant((0.0, 0.0, 1.0), rays)
    camera_up = _constant((0.0, -1.0, 0.0), rays)
    total = (rays * seen).sum(dim=-2)  # (..., 3)
    anybody = seen.sum(dim=-2) > 0
    forward = _unit(torch.where(anybody, total, ahead))
    has_height = _constant(HAS_HEIGHT, rays)[:, None] * seen  # (..., J, 1)
    height = _constant(HEIGHTS, rays)[:, None]
    mean_height = (height * has_height).sum(dim=-2, keepdim=True) / has_height.sum(dim=-2, keepdim=True).clamp(min=1.0)
    up = _across(((height - mean_height) * has_height * rays).sum(dim=-2), forward)
    length = torch.linalg.vector_norm(up, dim=-1, keepdim=True)
    # With the camera's up in its place where the person has none: a lone joint, nobody, or arms alone.
    up = torch.where(length > SMALLEST_UP, up, _across(camera_up.expand_as(forward), forward))
    down = -_unit(up)
    return torch.cat([_cross(down, forward), down, forward], dim=-1).unflatten(-1, (3, 3))  # type: ignore[no-any-return]


def _constant(values: tuple[float, ...] | tuple[int, ...], like: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """These values where another tensor lies. Those on a GPU are kept: to send them waits for it, and cannot be captured."""
    dtype = dtype or like.dtype
    if like.is_cuda and type(like) is Tensor:
        return _kept(values, dtype, like.device)
    return like.new_tensor(values, dtype=dtype)


@cache
def _kept(values: tuple[float, ...] | tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


def _across(vector: Tensor, axis: Tensor) -> Tensor:
    """The part of a vector that is at right angles to a unit axis."""
    return vector - (vector * axis).sum(dim=-1, keepdim=True) * axis


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=1e-12)  # type: ignore[no-any-return]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3); written out, since exporters turn ``torch.linalg.cross`` into more than products and differences."""
    yzx, zxy = (_constant(order, a, dtype=torch.int64) for order in ((1, 2, 0), (2, 0, 1)))
    return a.index_select(-1, yzx) * b.index_select(-1, zxy) - a.index_select(-1, zxy) * b.index_select(-1, yzx)

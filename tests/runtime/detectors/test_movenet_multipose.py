"""MoveNet MultiPose: several people in the whole picture, for inputs of one size and of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.detectors import Detector, Region, RegionDetector, open_detector
from posemoe_edge.runtime.detectors.movenet import MoveNetMultiPose, open_movenet
from posemoe_edge.runtime.errors import ArtefactError

cv2 = pytest.importorskip("cv2")
ASSETS = Path(__file__).resolve().parents[3].parent / "shared" / "assets"
MODEL = ASSETS / "movenet_multipose_lightning_256x256_w16.onnx"


@pytest.fixture(scope="module")
def movenet() -> Detector:
    pytest.importorskip("onnxruntime")
    if not MODEL.is_file():
        pytest.skip("MoveNet MultiPose's .onnx file is not beside this checkout")
    return open_movenet(MODEL)


def asset(name: str) -> ImageBgr:
    """A picture, or the first frame of a clip."""
    path = ASSETS / "real" / name
    if not path.is_file():
        pytest.skip(f"{name} is not beside this checkout")
    _, image = cv2.VideoCapture(str(path)).read()
    return np.asarray(image, np.uint8)


def middle_of_hips(person: Any) -> np.ndarray:
    return np.asarray(person.keypoints.xy[11:13].mean(axis=0))


def test_it_finds_everybody_and_does_not_search_in_two_stages(movenet: Detector) -> None:
    people = movenet.detect(asset("three_people.jpg"))
    assert len(people) == 3 and not isinstance(movenet, RegionDetector)
    for person in people:
        left, top, right, bottom = person.box_px
        seen = person.keypoints.points[person.keypoints.score > 0.3, :2]
        inside = ((seen > (left - 40, top - 40)) & (seen < (right + 40, bottom + 40))).all(axis=1)
        assert inside.mean() > 0.8 and person.score >= 0.25  # the box is that of the joints


def test_people_are_where_they_are_whatever_the_picture_around_them(movenet: Detector) -> None:
    """The same person in a picture with a wide margin at the left is as far to the right."""
    picture = asset("pose_squats.mp4")  # 720 x 1280, one person
    (person,) = movenet.detect(picture)
    wide = np.zeros((picture.shape[0], 1100, 3), np.uint8)  # still upright: the same scale
    wide[:, 380:] = picture
    (moved,) = movenet.detect(wide)
    np.testing.assert_allclose(middle_of_hips(moved) - middle_of_hips(person), (380, 0), atol=12)
    np.testing.assert_allclose(np.subtract(moved.box_px, person.box_px), (380, 0, 380, 0), atol=30)


def test_nobody_is_in_an_empty_picture(movenet: Detector) -> None:
    for shade in (0, 128, 255):
        assert movenet.detect(np.full((200, 300, 3), shade, np.uint8)) == []


def any_size_network(people: np.ndarray) -> bytes:
    """A ``.tflite`` file with an input of any size and always the same output (1, 6, 56)."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    kinds, operators = schema.TensorType, schema.BuiltinOperator
    buffers, tensors = [schema.BufferT()], []

    def tensor(name: str, shape: list[int], kind: int, *, value: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.type, made.shape = name.encode(), kind, [max(n, 1) for n in shape]
        made.shapeSignature = shape if -1 in shape else None
        if value is not None:
            data = schema.BufferT()
            data.data = np.frombuffer(value.tobytes(), np.uint8)
            buffers.append(data)
            made.buffer = len(buffers) - 1
        tensors.append(made)
        return len(tensors) - 1

    image = tensor("image", [1, -1, -1, 3], kinds.FLOAT32)
    axes = tensor("axes", [3], kinds.INT32, value=np.array([1, 2, 3], np.int32))
    zero = tensor("zero", [1], kinds.FLOAT32, value=np.zeros(1, np.float32))
    values = tensor("values", [1, 6, 56], kinds.FLOAT32, value=people.astype(np.float32)[None])
    mean, nothing = tensor("mean", [1], kinds.FLOAT32), tensor("nothing", [1], kinds.FLOAT32)
    output = tensor("people", [1, 6, 56], kinds.FLOAT32)
    options = (
        (schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()),
        (schema.BuiltinOptions.MulOptions, schema.MulOptionsT()),
        (schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
    )
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes, graph.operators = 3, buffers, [graph], [], []
    graph.tensors, graph.inputs, graph.outputs = tensors, [image], [output]
    steps = (
        (operators.MEAN, [image, axes], mean),
        (operators.MUL, [mean, zero], nothing),
        (operators.ADD, [nothing, values], output),
    )
    for index, ((kind, inputs, result), (options_type, option)) in enumerate(zip(steps, options, strict=True)):
        code, step = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        model.operatorCodes.append(code)
        step.opcodeIndex, step.inputs, step.outputs = index, inputs, [result]
        step.builtinOptionsType, step.builtinOptions = options_type, option
        graph.operators.append(step)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_an_input_of_any_size_is_resized_for_each_picture(tmp_path: Path) -> None:
    people = np.zeros((6, 56))
    people[0, :51] = np.tile((1.0, 0.5, 0.9), 17)  # all joints in the middle of the lower edge
    people[0, 51:] = (0.0, 0.25, 1.0, 0.75, 0.8)  # a box over the middle half of the width
    people[1, 55], people[1, :51] = 0.24, 0.9  # not sure enough to be a person
    people[2, 55], people[2, :15] = 0.9, 0.9  # five joints are too few
    people[3], people[3, 52] = 0.9, np.nan
    (tmp_path / "any.tflite").write_bytes(any_size_network(people))
    movenet = open_detector(f"movenet:{tmp_path / 'any.tflite'}")
    assert isinstance(movenet, MoveNetMultiPose)
    # 1920 x 1080 becomes 256 x 144, so that the input is 256 x 160: 8 rows, 60 pixels of the picture, above and below.
    for size, margin, box in (
        ((1920, 1080), (0, 60), (480, -60, 1440, 1140)),
        ((1080, 1920), (60, 0), (240, 0, 840, 1920)),
        ((512, 512), (0, 0), (128, 0, 384, 512)),
        ((1920, 1080), (0, 60), (480, -60, 1440, 1140)),
    ):
        (person,) = movenet.detect(np.zeros((size[1], size[0], 3), np.uint8), regions=[Region(1.0, 1.0, 1.0)])
        np.testing.assert_allclose(person.keypoints.xy, np.tile((size[0] / 2, size[1] + margin[1]), (17, 1)), atol=1e-2)
        np.testing.assert_allclose(person.box_px, box, atol=1e-2)
        assert person.score == pytest.approx(0.8)


def test_another_network_is_refused_with_its_shapes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    tensor, floats = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    shape = [1, 4, 4, 3]
    node = onnx.helper.make_node("Identity", ["image"], ["same"])
    graph = onnx.helper.make_graph([node], "net", [tensor("image", floats, shape)], [tensor("same", floats, shape)])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), tmp_path / "a.onnx"
    )
    with pytest.raises(ArtefactError, match=r"has the input \(1, 4, 4, 3\) and the outputs \(1, 4, 4, 3\); expected MoveNet"):
        open_detector(f"movenet:{tmp_path / 'a.onnx'}")

"""Networks that see one person in a crop: real ONNX networks whose weights make the answer known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.detectors import Detection, Region, RegionDetector, open_detector
from posemoe_edge.runtime.detectors.description import NetworkDescription, read_description
from posemoe_edge.runtime.detectors.rtmpose import RTMPOSE
from posemoe_edge.runtime.detectors.two_stage import TwoStageDetector
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
WIDTH, HEIGHT = 48, 64  # of the networks' input
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
RED, GREEN = 0, 1

Nodes = list[Any]
Write = Callable[..., Path]


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], **attributes)


def brightest(channel: int, *, joints: int) -> tuple[Nodes, dict[str, np.ndarray]]:
    """Nodes from ``image`` (N, 3, H, W) to ``shown`` (N, J, H, W): one channel without its normalisation, in 0 to 1.

    The joints share one map, so that all of them are where that channel is brightest.
    """
    weight = np.zeros((joints, 3, 1, 1), np.float32)
    weight[:, channel] = STD[channel] / 255
    bias = np.full(joints, MEAN[channel] / 255, np.float32)
    return [node("Conv", ["image", "weight", "bias"], "shown")], {"weight": weight, "bias": bias}


def simcc(channel: int = RED, joints: int = 17) -> tuple[Nodes, dict[str, np.ndarray], list[str]]:
    """The largest value of each column and of each row, each repeated for two bins."""
    nodes, constants = brightest(channel, joints=joints)
    constants |= {"twice": np.array([1, 1, 2], np.float32), "roi": np.zeros(0, np.float32)}
    for name, axis in (("simcc_x", 2), ("simcc_y", 3)):
        nodes += [
            node("ReduceMax", ["shown"], f"{name}_max", axes=[axis], keepdims=0),
            node(
                "Resize",
                [f"{name}_max", "roi", "twice"],
                name,
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
        ]
    return nodes, constants, ["simcc_x", "simcc_y"]


def heatmaps(channel: int = RED, joints: int = 17) -> tuple[Nodes, dict[str, np.ndarray], list[str]]:
    """The mean of each 4 x 4 pixels."""
    nodes, constants = brightest(channel, joints=joints)
    return [*nodes, node("AveragePool", ["shown"], "maps", kernel_shape=[4, 4], strides=[4, 4])], constants, ["maps"]


def fixed_keypoints(values: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray], list[str]]:
    """The same keypoints (17, 2 or 3), whatever the picture shows."""
    constants = {"zero": np.zeros(1, np.float32), "values": values.astype(np.float32)[None]}
    nodes = [
        node("ReduceMean", ["image"], "mean", axes=[1, 2, 3], keepdims=0),
        node("Mul", ["mean", "zero"], "nothing"),
        node("Add", ["nothing", "values"], "points"),
    ]
    return nodes, constants, ["points"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(simcc(), batch="N"): the file of a network with those nodes, constants and outputs."""

    def written(
        network: tuple[Nodes, dict[str, np.ndarray], list[str]],
        *,
        batch: int | str = 1,
        size: tuple[Any, Any] = (WIDTH, HEIGHT),
    ) -> Path:
        nodes, constants, outputs = network
        tensor = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            nodes,
            "net",
            [tensor("image", onnx.TensorProto.FLOAT, [batch, 3, size[1], size[0]])],
            [tensor(name, onnx.TensorProto.FLOAT, None) for name in outputs],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
        return path

    return written


def picture(*spots: tuple[int, int], channel: int = RED, radius: int = 3) -> ImageBgr:
    """A spot at each (x, y), around the middle of the pixel, on black."""
    import cv2

    image = np.zeros((300, 400, 3), np.uint8)
    for x, y in spots:
        colour = [0, 0, 0]
        colour[2 - channel] = 255
        cv2.circle(image, (x, y), radius, colour, -1)
    return image


def describe(path: Path, text: str) -> str:
    path.with_suffix(".toml").write_text(text)
    return f"onnx:{path}"


def middle(person: Detection) -> tuple[float, float]:
    """Where the joints are, which are all at one place."""
    xy = person.keypoints.xy
    assert np.ptp(xy, axis=0).max() == 0
    return float(xy[0, 0]), float(xy[0, 1])


@pytest.mark.parametrize("batch", [1, "N"])
def test_rtmpose_sees_each_region_by_itself_in_red_green_blue(write: Write, batch: int | str) -> None:
    detector = open_detector(f"rtmpose:{write(simcc(), batch=batch)}")
    image = picture((100, 120), (300, 200))
    image[:, :, 0] = 90  # blue everywhere, which the network does not see
    regions = [Region(110.0, 110.0, 96.0), Region(290.0, 190.0, 128.0, 0.6), Region(-900.0, 0.0, 50.0)]
    first, second = detector.detect(image, regions=regions)  # nobody is in a region outside of the picture
    assert first.keypoints.skeleton == COCO17 and first.keypoints.size == ImageSize(400, 300)
    np.testing.assert_allclose(middle(first), (100.5, 120.5), atol=3)  # the spot's first bright pixel, of its crop's 1.5 px
    np.testing.assert_allclose(middle(second), (300.5, 200.5), atol=5)
    assert first.score == pytest.approx(1, abs=0.02) and second.score == pytest.approx(1, abs=0.02)


def test_the_next_region_is_around_the_joints_with_the_crops_proportions(write: Write) -> None:
    points = np.full((17, 3), 0.9)
    points[:, 0], points[:, 1] = np.linspace(0.25, 0.75, 17), np.linspace(0, 1, 17)
    uri = describe(write(fixed_keypoints(points)), 'output = "keypoints"\nnormalised = true\nmargin = 1.5\n')
    (person,) = open_detector(uri).detect(picture(), regions=[Region(200.0, 150.0, 128.0)])
    np.testing.assert_allclose(person.box_px, (176, 86, 224, 214), atol=1e-3)  # the crop is 96 x 128 px of the picture
    assert person.region is not None and person.score == pytest.approx(0.9)
    assert (person.region.x_px, person.region.y_px, person.region.side_px) == pytest.approx((200, 150, 192))


def test_without_regions_the_whole_picture_is_seen(write: Write) -> None:
    detector = open_detector(f"rtmpose:{write(simcc())}")
    assert isinstance(detector, RegionDetector)
    assert detector.find(picture()) == [Region(200.0, 150.0, 400 * HEIGHT / WIDTH)]
    for spot in ((12, 12), (387, 287)):
        (person,) = detector.detect(picture(spot, radius=12))
        np.testing.assert_allclose(middle(person), np.add(spot, 0.5), atol=400 / WIDTH + 12)


@pytest.mark.parametrize(
    ("network", "output"), [(simcc(GREEN), "simcc"), (heatmaps(GREEN), "heatmaps")], ids=["simcc", "heatmaps"]
)
def test_a_described_network_is_as_its_file_says(write: Write, network: Any, output: str) -> None:
    text = f'output = "{output}"\ncolour = "rgb"\nmean = {list(MEAN)}\nstd = {list(STD)}\nmin_score = 0.2\n'
    detector = open_detector(describe(write(network), text))
    (person,) = detector.detect(picture((100, 120), channel=GREEN), regions=[Region(110.0, 110.0, 64.0)])
    np.testing.assert_allclose(middle(person), (100.5, 120.5), atol=3)
    assert detector.detect(picture((100, 120), channel=RED), regions=[Region(110.0, 110.0, 64.0)]) == []


def test_a_network_of_another_layout_colour_and_skeleton(write: Write) -> None:
    nodes, constants, outputs = simcc(2)  # its third channel is red if blue comes first
    nodes = [node("Transpose", ["nhwc"], "image", perm=[0, 3, 1, 2]), *nodes]
    constants["bias"][:], constants["weight"][:, 2] = 0, 1 / 255
    path = write((nodes, constants, outputs))
    model = onnx.load(path)
    del model.graph.input[:]
    model.graph.input.append(onnx.helper.make_tensor_value_info("nhwc", onnx.TensorProto.FLOAT, [1, None, None, 3]))
    onnx.save(model, path)
    text = 'output = "simcc"\nlayout = "nhwc"\ncolour = "bgr"\nskeleton = "h36m17"\nsize_px = [64, 64]\n'
    (person,) = open_detector(describe(path, text)).detect(picture((100, 120)), regions=[Region(110.0, 110.0, 64.0)])
    np.testing.assert_allclose(middle(person), (100.5, 120.5), atol=3)
    assert person.keypoints.skeleton == H36M17


class Boxes:
    """A detector that looks at the whole picture, and has one box."""

    skeleton = COCO17

    def detect(self, image_bgr: ImageBgr, *, regions: object = None) -> list[Detection]:
        return [Detection.from_coco(np.zeros((17, 3)), size=ImageSize.of(image_bgr), box_px=(200.0, 150.0, 250.0, 230.0))]


def test_the_boxes_of_another_detector_are_looked_at(write: Write) -> None:
    detector = TwoStageDetector(Boxes(), open_detector(f"rtmpose:{write(simcc())}"))
    image = picture((230, 200), (20, 20), (390, 290))
    assert isinstance(detector, RegionDetector) and detector.find(image) == [Region(225.0, 190.0, 100.0)]
    (person,) = detector.detect(image)
    np.testing.assert_allclose(middle(person), (230.5, 200.5), atol=4)
    assert detector.detect(image, regions=[]) == []


def test_a_detector_that_finds_people_is_named_behind_a_question_mark(write: Write, tmp_path: Path) -> None:
    pose, text = write(simcc()).rename(tmp_path / "pose.onnx"), 'output = "keypoints"\nsize_px = [64, 64]\n'
    finder = describe(write(fixed_keypoints(np.zeros((17, 2))), size=("W", "H")), text)
    detector = open_detector(f"rtmpose:{pose}?find={finder}")
    assert isinstance(detector, TwoStageDetector)
    assert detector.find(picture()) == [Region(200.0, 150.0, 400.0)]  # the finder's whole picture, which is square


def test_the_description_in_the_documentation_is_rtmposes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "detectors.md").read_text()
    text = next(block for block in page.split("```") if block.startswith("toml\noutput"))
    (tmp_path / "net.toml").write_text(text.removeprefix("toml\n"))
    description = read_description(tmp_path / "net.toml")
    assert description == RTMPOSE.model_copy(update={"size_px": (192, 256)})
    assert all(f"\n{key} = " in text for key in NetworkDescription.model_fields)  # every key is explained


@pytest.mark.parametrize(
    ("network", "size", "text", "message"),
    [
        (simcc(joints=26), (WIDTH, HEIGHT), 'output = "simcc"', r"\(1, 26, 96\).*expected \(N, 17, B \* 48\)"),
        (simcc(), (WIDTH, HEIGHT), 'output = "heatmaps"', r"expected \(N, 17, h, w\) for the output heatmaps of coco17"),
        (heatmaps(), (WIDTH, HEIGHT), 'output = "keypoints"', r"expected \(N, 17, 2 or 3\)"),
        (simcc(), (WIDTH, HEIGHT), 'output = "simcc"\nsize_px = [48, 48]', "size_px is 48 x 48; expected 48 x 64"),
        (simcc(), (WIDTH, HEIGHT), 'output = "simcc"\nlayout = "nhwc"', r"has the input \(1, 3, 64, 48\)"),
        (simcc(), ("W", "H"), 'output = "simcc"', r"expected size_px = \[WIDTH, HEIGHT\]"),
        (simcc(), (WIDTH, HEIGHT), 'output = "regression"', "output: Input should be 'simcc', 'heatmaps' or 'keypoints'"),
        (
            simcc(),
            (WIDTH, HEIGHT),
            'output = "simcc"\ncolor = "rgb"',
            "color: Extra inputs.*expected keys among output, skeleton",
        ),
        (simcc(), (WIDTH, HEIGHT), 'output = "simcc"\nstd = [1.0, 0.0, 1.0]', r"std\.1: .*greater than 0"),
        (simcc(), (WIDTH, HEIGHT), 'output = "simcc"\nmean = [1.0, inf, 1.0]', r"mean\.1: .*finite"),
        (simcc(), (WIDTH, HEIGHT), 'layout = "nchw"', "output: Field required"),
    ],
)
def test_a_network_that_does_not_fit_its_description_is_refused(
    write: Write, network: Any, size: tuple[Any, Any], text: str, message: str
) -> None:
    with pytest.raises(ArtefactError, match=message):
        open_detector(describe(write(network, size=size), text))


def test_a_missing_file_is_never_downloaded(write: Write, tmp_path: Path) -> None:
    for spec in ("rtmpose:nowhere.onnx", "onnx:nowhere.onnx", "rtmpose:https://example.org/rtmpose.onnx"):
        with pytest.raises(MissingError, match=r"no file .*\.onnx; expected a file with a network"):
            open_detector(spec)
    with pytest.raises(MissingError, match=r"no file .*net\.toml; expected a description"):
        open_detector(f"onnx:{write(simcc())}")
    with pytest.raises(UsageError, match=r"net\.toml is not TOML"):
        open_detector(describe(write(simcc()), "output: simcc"))
    (tmp_path / "page.onnx").write_text("<!DOCTYPE html>")
    with pytest.raises(ArtefactError, match="is a web page"):
        open_detector(f"rtmpose:{tmp_path / 'page.onnx'}")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ArtefactError, match=r"ONNX Runtime cannot open .*text\.onnx"):
        open_detector(f"rtmpose:{tmp_path / 'text.onnx'}")
    with pytest.raises(UsageError, match="no detector 'blazpose'; did you mean blazepose"):
        open_detector(f"rtmpose:{write(simcc())}?find=blazpose")

"""RemoteModel against a double of Triton with its real messages; `tests/real` does it with a real Triton."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, FrameError, MissingError, Pipeline, Pose, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.serving.remote import RemoteModel
from posemoe_edge.runtime.serving.remote_stream import RemoteStream

pytest.importorskip("tritonclient.grpc")

if TYPE_CHECKING:
    from triton_double import TritonDouble

Walk = Callable[..., F32]
DT_S = 0.02


@pytest.fixture
def server(retention_artefact: Path, tmp_path: Path) -> Iterator[TritonDouble]:
    from triton_double import TritonDouble

    double = TritonDouble(retention_artefact, tmp_path, most=8)
    yield double
    double.kill()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def remote(server: TritonDouble, notices: list[str]) -> Iterator[RemoteModel]:
    model = RemoteModel.connect(server.url, timeout_s=1.0, patience_s=5.0, replay_s=0.19, on_notice=notices.append)
    yield model
    model.close()


def play(stream: Any, walk: F32, frames: range) -> list[Pose]:
    return [stream.step(walk[i], t=i * DT_S) for i in frames]


def assert_same(poses: list[Pose], expected: list[Pose]) -> None:
    for pose, other in zip(poses, expected, strict=True):
        np.testing.assert_array_equal(pose.xyz_m, other.xyz_m)
        np.testing.assert_array_equal(pose.score, other.score)
        assert (pose.t_s, pose.dt_s, pose.gap, pose.person) == (other.t_s, other.dt_s, other.gap, other.person)


def test_poses_are_those_of_the_model_at_home(remote: RemoteModel, retention_artefact: Path, walker_keypoints: Walk) -> None:
    home, walk = load(retention_artefact), walker_keypoints(8)
    with remote.stream(person=3) as stream:
        assert_same(play(stream, walk, range(8)), play(home.stream(person=3), walk, range(8)))
    assert remote.manifest == home.manifest and remote.identity == home.identity and remote.gaps == home.gaps


def test_a_pipeline_has_the_same_events(remote: RemoteModel, retention_artefact: Path) -> None:
    there, here = (
        [event.to_json() for event in Pipeline("synthetic://walk?people=3", model, frames=12, flip=True)]
        for model in (remote, load(retention_artefact))
    )
    assert [event["event"] for event in there] == [event["event"] for event in here]
    for a, b in zip(there, here, strict=True):
        for pose, other in zip(a.pop("poses", []), b.pop("poses", []), strict=True):
            np.testing.assert_allclose(pose.pop("xyz_m"), other.pop("xyz_m"), atol=2e-3)
        assert a == b


def test_a_person_keeps_the_number_until_the_goodbye(server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    a, b = remote.stream(), remote.stream()
    for i in range(3):
        remote.step_batch({a: walk[i], b: walk[i]}, t=i * DT_S)
    assert server.held == 2
    a.close()
    a.close()
    assert server.held == 1
    times = [(i * DT_S, i == 0, False) for i in range(3)]
    assert server.seen == {a._sequence: [*times, (None, False, True)], b._sequence: times}


def test_a_bad_frame_costs_its_own_person_a_frame(remote: RemoteModel, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    a, b = remote.stream(), remote.stream()
    answers = remote.step_each({a: walk[0], b: np.full((17, 3), np.nan)}, t=0.0)
    assert isinstance(answers[a], Pose) and isinstance(answers[b], FrameError)
    with pytest.raises(FrameError, match="time went from"):
        a.step(walk[1], t=0.0)
    with pytest.raises(FrameError, match="not finite"):
        remote.step_batch({a: walk[1], b: np.full((17, 3), np.nan)}, t=0.1)
    assert {type(answer) for answer in remote.step_each({a: walk[1], b: walk[1]}, t=0.1).values()} == {Pose}


def test_what_only_the_server_refuses_is_that_person_s_error(
    server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk
) -> None:
    """Nine people where there is room for eight."""
    streams = [remote.stream() for _ in range(9)]
    answers = remote.step_each(dict.fromkeys(streams, walker_keypoints(1)[0]), t=0.0)
    refused = [answer for answer in answers.values() if isinstance(answer, FrameError)]
    assert len(refused) == 1 and "8 people are held already" in str(refused[0])
    streams[0].close()
    assert isinstance(remote.step_each({streams[8]: walker_keypoints(1)[0]}, t=0.1)[streams[8]], Pose)


def test_reset_begins_anew_within_the_sequence(
    server: TritonDouble, remote: RemoteModel, retention_artefact: Path, walker_keypoints: Walk
) -> None:
    walk, home, stream = walker_keypoints(6), load(retention_artefact).stream(), remote.stream()
    for one in (home, stream):
        play(one, walk, range(3))
        one.reset()
    assert_same(play(stream, walk, range(6)), play(home, walk, range(6)))  # with times that begin again, too
    assert [start for _, start, _ in server.seen[stream._sequence]].count(True) == 1


@pytest.mark.parametrize("after", [3, 4, 5])
def test_a_broken_connection_is_resumed_from_the_last_frames(
    after: int, server: TritonDouble, remote: RemoteModel, retention_artefact: Path, walker_keypoints: Walk, notices: list[str]
) -> None:
    """Everything fits into what is sent again, so the poses are those without the break."""
    walk, home, stream = walker_keypoints(8), load(retention_artefact).stream(), remote.stream()
    server.break_after = after
    assert_same(play(stream, walk, range(8)), play(home, walk, range(8)))
    assert remote.resumed == 1
    assert [notice.partition("grpc")[0] for notice in notices[:2]] == ["the server "] * 2
    assert "was lost: " in notices[0] and "is back" in notices[1]
    assert notices[2] == f"1 person goes on there from {after} frames that were sent again, at most 0.19 s of each"


def test_only_the_last_frames_are_sent_again(server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk) -> None:
    walk, stream = walker_keypoints(40), remote.stream()
    play(stream, walk, range(39))
    server.kill()
    server.start()
    play(stream, walk, range(39, 40))
    times = [t_s for t_s, _, _ in server.seen[stream._sequence]]
    np.testing.assert_allclose([t for t in times if t is not None], np.arange(29, 40) * DT_S)


def test_a_server_that_forgot_a_person_gets_the_past_again(
    server: TritonDouble, remote: RemoteModel, retention_artefact: Path, walker_keypoints: Walk
) -> None:
    """After idle time, without any break of the connection."""
    walk, home, stream = walker_keypoints(6), load(retention_artefact).stream(), remote.stream()
    poses = play(stream, walk, range(3))
    server.forget_everybody()
    poses += play(stream, walk, range(3, 6))
    assert_same(poses, play(home, walk, range(6)))
    assert remote.resumed == 1


def test_without_a_server_frames_are_refused_and_it_is_tried_again(
    server: TritonDouble, walker_keypoints: Walk, notices: list[str]
) -> None:
    remote = RemoteModel.connect(server.url, patience_s=0.0, on_notice=notices.append)
    walk, stream = walker_keypoints(4), remote.stream()
    play(stream, walk, range(1))
    server.kill()
    began_s = time.monotonic()
    for i in (1, 2):
        with pytest.raises(FrameError, match="is not there"):
            stream.step(walk[i], t=i * DT_S)
    assert time.monotonic() - began_s < 1.0  # nobody waits for a server that is away
    server.start()
    time.sleep(1.1)
    assert isinstance(stream.step(walk[3], t=3 * DT_S), Pose)
    assert sum("was lost" in notice for notice in notices) == 1
    remote.close()


def test_frames_wait_for_a_server_that_comes_back(server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk) -> None:
    walk, stream = walker_keypoints(2), remote.stream()
    play(stream, walk, range(1))
    server.kill()
    later = threading.Timer(0.6, server.start)
    later.start()
    assert play(stream, walk, range(1, 2))[0].dt_s == pytest.approx(DT_S)
    later.join()


def test_a_person_without_an_answer_costs_the_others_nothing(
    server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk
) -> None:
    walk = walker_keypoints(3)
    a, b = remote.stream(), remote.stream()
    server.silent.add(b._sequence)
    answers = remote.step_each({a: walk[0], b: walk[0]}, t=0.0)
    assert isinstance(answers[a], Pose) and "no answer within 1 s" in str(answers[b])
    server.silent.clear()
    after = remote.step_each({a: walk[1], b: walk[1]}, t=0.1)
    assert isinstance(after[a], Pose) and isinstance(after[b], Pose)
    assert server.seen[b._sequence] == [(0.0, True, False), (0.1, True, False)]  # begun anew: nobody knows what arrived
    assert remote.resumed == 0


def test_many_clients_do_not_share_anything(server: TritonDouble, retention_artefact: Path, walker_keypoints: Walk) -> None:
    walks = [walker_keypoints(10, seed=k) for k in range(4)]
    got: dict[int, list[Pose]] = {}

    def client(k: int) -> None:
        model = RemoteModel.connect(server.url)
        got[k] = play(model.stream(), walks[k], range(10))
        model.close()

    threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    home = load(retention_artefact)
    for k, walk in enumerate(walks):
        assert_same(got[k], play(home.stream(), walk, range(10)))


def test_misuse_says_what_to_do(server: TritonDouble, remote: RemoteModel, walker_keypoints: Walk) -> None:
    frame, other = walker_keypoints(1)[0], RemoteModel.connect(server.url)
    with pytest.raises(UsageError, match="another model"):
        remote.step_batch({other.stream(): frame})
    closed = remote.stream()
    closed.close()
    with pytest.raises(UsageError, match="the stream is closed"):
        closed.step(frame)
    other.close()
    with pytest.raises(UsageError, match="the model is closed"):
        RemoteStream(other, 0).step(frame)
    assert not remote.shares_states_with(other)


def test_a_server_that_is_not_there_or_has_no_such_model(server: TritonDouble) -> None:
    with pytest.raises(MissingError, match=r"serve --listen 127\.0\.0\.1:1"):
        RemoteModel.connect("grpc://127.0.0.1:1")
    with pytest.raises(MissingError, match="unknown model"):
        RemoteModel.connect(f"{server.url}/nobody")
    assert RemoteModel.connect(f"{server.url}/{server.names[0]}").name == server.names[0]


def test_a_server_with_several_models_is_asked_which(server: TritonDouble) -> None:
    server.names.append("second")
    with pytest.raises(UsageError, match=r"has 2 models of people.*tiny-retention, second.*grpc://HOST:PORT/MODEL"):
        RemoteModel.connect(server.url)


def test_a_model_of_another_version_is_refused(server: TritonDouble) -> None:
    server.config.parameters["protocol"].string_value = "2"
    with pytest.raises(ArtefactError, match="speaks version 2"):
        RemoteModel.connect(server.url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("protocol", "2"), ("manifest", "{}"), ("decay_after_s", "soon"), ("precision", "int8")],
)
def test_no_connection_stays_open_to_a_model_that_is_refused(server: TritonDouble, name: str, value: str) -> None:
    server.config.parameters[name].string_value = value
    before = threading.enumerate()
    with pytest.raises(ArtefactError):
        RemoteModel.connect(server.url)
    readers = [thread for thread in threading.enumerate() if thread.name == "triton" and thread not in before]
    for reader in readers:
        reader.join(2.0)
    assert not any(reader.is_alive() for reader in readers)


def test_a_remote_model_is_closed_at_the_end_of_its_block(server: TritonDouble, walker_keypoints: Walk) -> None:
    with RemoteModel.connect(server.url) as model:
        stream = model.stream()
        stream.step(walker_keypoints(1)[0])
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(walker_keypoints(2)[1])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:8001", "the server '127.0.0.1:8001'"),
        ("http://127.0.0.1:8001", "the server 'http://127.0.0.1:8001'"),
        ("grpc://127.0.0.1", "has no port"),
        ("grpc://127.0.0.1:8001?ca=x", "no option 'ca'"),
        ("grpcs://127.0.0.1:8001?cert=x", "half a pair"),
    ],
)
def test_a_url_that_is_none_says_what_it_should_be(url: str, words: str) -> None:
    with pytest.raises(UsageError, match="grpc://HOST:PORT") as error:
        RemoteModel.connect(url)
    assert words in str(error.value)

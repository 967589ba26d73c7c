from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.lifting import answered_frames, lift_sequence, mean_error_mm, target_poses
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.pruning import Pruning
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.errors import UsageError

RETENTION = PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1)
WINDOW = PoseMoEConfig(mixer=AttentionConfig(), dim=16, heads=2, layers=1, window=9)
CENTRE = AlternatingConfig(
    mixer=AttentionConfig(), dim=16, heads=2, layers=2, window=9, channels=2,
    pruning=Pruning(keep=(5, 3), layers=(0, 1), recover="none", output="centre"),
)  # fmt: skip


@pytest.fixture
def sequences(make_walker_clip: Callable[..., Clip]) -> list[PoseSequence]:
    return evaluation_sequences([make_walker_clip("a", 60, seed=9), make_walker_clip("b", 25, seed=2)], noisy=True)


def test_a_stream_is_lifted_alike_in_blocks_of_any_size(sequences: list[PoseSequence]) -> None:
    model = build(RETENTION).train()
    whole = lift_sequence(model, sequences[0], block=1000)
    np.testing.assert_allclose(lift_sequence(model, sequences[0], block=7), whole, atol=1e-4)
    assert whole.shape == sequences[0].pose_m.shape and model.training
    assert mean_error_mm(model, sequences, block=7) == pytest.approx(mean_error_mm(model, sequences), rel=1e-4)


def test_windows_are_lifted_one_after_the_other(sequences: list[PoseSequence]) -> None:
    model, sequence = build(WINDOW).eval(), sequences[1]
    results = lift_sequence(model, sequence)  # 25 frames: 9, 9 and 7
    with torch.no_grad():
        second = model(torch.from_numpy(sequence.keypoints[None, 9:18]), torch.from_numpy(sequence.dt_s[None, 9:18]))[0]
        frame_numbers = [*range(18, 25), 24, 24]
        last = model(
            torch.from_numpy(sequence.keypoints[None, frame_numbers]), torch.from_numpy(sequence.dt_s[None, frame_numbers])
        )[0, :7]
    np.testing.assert_allclose(results[9:18], second, atol=1e-5)
    np.testing.assert_allclose(results[18:], last, atol=1e-5)
    assert len(results) == 25


def test_seq2frame_is_measured_on_the_middle_frames(sequences: list[PoseSequence]) -> None:
    model, sequence = build(CENTRE).eval(), sequences[1]
    poses, truth = lift_sequence(model, sequence), target_poses(model, sequence)
    assert poses.shape == truth.shape == (3, 17, 3)
    np.testing.assert_array_equal(truth, sequence.pose_m[[4, 13, 22]])
    np.testing.assert_array_equal(answered_frames(model, sequence), [4, 13, 22])


def test_every_frame_counts_once(sequences: list[PoseSequence]) -> None:
    model = build(RETENTION)
    errors = [np.linalg.norm(lift_sequence(model, sequence) - sequence.pose_m, axis=-1).mean(axis=-1) for sequence in sequences]
    assert mean_error_mm(model, sequences) == pytest.approx(1000 * np.concatenate(errors).mean(), rel=1e-5)
    still = [replace(sequence, pose_m=lift_sequence(model, sequence)) for sequence in sequences]
    assert mean_error_mm(model, still) == 0


@pytest.mark.parametrize(
    ("config", "counting"), [(RETENTION, 15), (WINDOW, 15), (CENTRE, 2)], ids=["stream", "window", "centre"]
)
def test_invalid_frames_are_lifted_and_not_measured_in_torch(
    config: LifterConfig, counting: int, sequences: list[PoseSequence]
) -> None:
    model = build(config).eval()
    holes = replace(sequences[1], valid=np.arange(25) >= 10)
    frame_numbers = answered_frames(model, holes)
    errors = np.linalg.norm(lift_sequence(model, sequences[1]) - sequences[1].pose_m[frame_numbers], axis=-1).mean(axis=-1)
    assert (frame_numbers >= 10).sum() == counting
    assert mean_error_mm(model, [holes]) == pytest.approx(1000 * errors[frame_numbers >= 10].mean(), rel=1e-5)
    nowhere = replace(sequences[0], valid=np.zeros(60, np.bool_))
    assert mean_error_mm(model, [holes, nowhere]) == mean_error_mm(model, [holes])
    with pytest.raises(UsageError, match="no frame of these sequences is valid"):
        mean_error_mm(model, [nowhere])

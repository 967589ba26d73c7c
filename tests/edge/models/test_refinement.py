"""The refinement over time: bones corrected by what was guessed of them before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.mixer import Mixer, MixerConfig
from posemoe_edge.edge.models.modes import ForwardMode
from posemoe_edge.edge.models.refinement import VALUES, BoneRefinement, PastDifference
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.skeleton import H36M17
from torch import Tensor

EXACT = 1e-12  # float64
FRAMES = 6
MIXERS = (RetentionConfig(distances="bones"), DSSMConfig(state_size=4), AttentionConfig())
each_mixer = pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer.kind)


def timing() -> Timing:
    dt = torch.tensor([[0.02, 0.02, 0.07, 0.02, 0.04, 0.02]], dtype=torch.float64)
    return Timing.from_seconds(dt, None, fps=50.0, chunk_size=1)


@pytest.fixture
def refinement() -> Callable[..., BoneRefinement]:
    """refinement(mixer): with random weights, in float64."""

    def make(mixer: MixerConfig, skeleton: str = "h36m17") -> BoneRefinement:
        torch.manual_seed(0)
        window = FRAMES if isinstance(mixer, AttentionConfig) else None
        config = FrameConfig(dim=16, layers=1, mixer=mixer, window=window, heads=2, mix_dim=16, skeleton=skeleton)
        model = BoneRefinement(config, dim=16, layers=2, sigma=True).double().eval()
        torch.nn.init.normal_(model.position)
        return model.requires_grad_(False)

    return make


def random_input() -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees, a guess and its sigma, over time."""
    generator = torch.Generator().manual_seed(1)
    x, guess, sigma = (torch.rand(1, FRAMES, 17, n, generator=generator, dtype=torch.float64) for n in (3, 3, 1))
    return x, guess, 0.01 + sigma[..., 0]


@each_mixer
def test_a_guess_that_does_not_change_is_not_corrected(mixer: MixerConfig, refinement: Callable[..., BoneRefinement]) -> None:
    x, guess, sigma = random_input()
    still = guess[:, :1].expand(-1, FRAMES, -1, -1)
    _, refined = refinement(mixer)(x, still, sigma, ForwardMode(timing()))
    assert (refined - still).abs().max() < EXACT
    _, moving = refinement(mixer)(x, guess, sigma, ForwardMode(timing()))
    changes = (moving - guess).abs().amax(dim=(0, 2, 3))  # (T,)
    assert changes[1:].min() > 1e-3  # one that changes is, in every frame but the first


@pytest.mark.parametrize("skeleton", ["h36m17", "3dhp17"])
def test_without_a_correction_the_joints_are_those_of_the_guess(
    skeleton: str, refinement: Callable[..., BoneRefinement]
) -> None:
    model = refinement(RetentionConfig(distances="uniform"), skeleton)
    model.zero_init_residual()
    x, guess, sigma = random_input()
    assert (model(x, guess, sigma, ForwardMode(timing()))[1] - guess).abs().max() < EXACT


@each_mixer
def test_no_bone_sees_another(mixer: MixerConfig, refinement: Callable[..., BoneRefinement]) -> None:
    x, guess, sigma = random_input()
    elbow, wrist = H36M17.joints.index("left_elbow"), H36M17.joints.index("left_wrist")
    changed = guess.clone()
    changed[:, 0, elbow] += 0.1  # two bones in the first frame: the upper arm and the forearm
    model = refinement(mixer)
    before, after = (model(x, pose, sigma, ForwardMode(timing()))[1][0, -1] for pose in (guess, changed))
    differs = (before - after).norm(dim=-1) > EXACT
    assert differs.nonzero()[:, 0].tolist() == [elbow, wrist]


@each_mixer
def test_the_change_is_the_weighted_sum_of_differences(mixer: MixerConfig) -> None:
    """With the weights read from the mixer by frames of which one alone has values."""
    torch.manual_seed(0)
    dim, heads = 16, 2
    built: Mixer = mixer.build(dim=dim, heads=heads, joints=17)
    block = PastDifference(dim, heads, built).double().eval().requires_grad_(False)
    features = torch.randn(1, FRAMES, 17, dim, dtype=torch.float64)
    value = torch.randn(1, FRAMES, 17, VALUES, dtype=torch.float64)
    _, change = block(features, value, ForwardMode(timing()))

    normed = block.norm(features)
    q, k = block.project(normed).chunk(2, dim=-1)
    width = dim // heads
    q, k = (
        (part / part.norm(dim=-1, keepdim=True) * width**0.5).flatten(-2)
        for part in (part.unflatten(-1, (heads, width)) for part in (q, k))
    )
    weights = []  # of each frame m: (T, J, H, 4)
    for frame in range(FRAMES):
        alone = torch.zeros(1, FRAMES, 17, dim, dtype=torch.float64)
        alone[:, frame] = 1
        mapped = ForwardMode(timing()).mix(built, q, k, alone)[0].unflatten(-1, (heads, width))
        weights.append(mapped[..., :VALUES] * width**-0.5)
    gates = block.gate(normed)[0].unflatten(-1, (2, heads))  # (T, J, 2, H)
    expected = torch.zeros_like(change[0])
    for now in range(FRAMES):
        for past in range(FRAMES):
            difference = value[0, past] - value[0, now]  # (J, 4)
            for head in range(heads):
                weighted = weights[past][now, :, head] * difference
                expected[now, :, :3] += gates[now, :, 0, head, None] * weighted[:, :3]
                expected[now, :, 3] += gates[now, :, 1, head] * weighted[:, 3]
    assert (change[0] - expected).abs().max() < EXACT


def test_a_head_needs_room_for_a_bone() -> None:
    with pytest.raises(UsageError, match="8 channels in 2 heads; expected more than 4 channels a head"):
        PastDifference(8, 2, AttentionConfig().build(dim=8, heads=2, joints=17))

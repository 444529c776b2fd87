"""The spatial transformer and the classifier behind it."""

import pytest
import torch
from small_training import ARCH, SIZE_PX
from torch import nn

from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import SpatialTransformer, TransformedClassifier, warp


class Constant(nn.Module):
    """A localizer that says the same of every image."""

    def __init__(self, *theta: float) -> None:
        super().__init__()
        self.theta_6 = nn.Parameter(torch.tensor(theta, dtype=torch.float32))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.theta_6.view(1, 2, 3).expand(len(x_BCHW), 2, 3)


@pytest.mark.parametrize("size", [(24, 24), (64, 64), (17, 40)])
def test_the_identity_leaves_an_image_as_it_is(size: tuple[int, int]) -> None:
    x_BCHW = torch.rand(3, 3, *size)
    warped_BCHW, theta_B23 = SpatialTransformer(Constant(1, 0, 0, 0, 1, 0))(x_BCHW)
    torch.testing.assert_close(warped_BCHW, x_BCHW, rtol=0, atol=1e-5)
    assert torch.equal(theta_B23[0].flatten(), torch.eye(2, 3).flatten())


def test_mirroring_and_shifting_move_whole_pixels() -> None:
    x_BCHW = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(SpatialTransformer(Constant(-1, 0, 0, 0, 1, 0))(x_BCHW)[0], x_BCHW.flip(3))
    shifted = SpatialTransformer(Constant(1, 0, 2 * 3 / 16, 0, 1, 0))(x_BCHW)[0]  # three pixels to the right in x
    torch.testing.assert_close(shifted[:, :, :, :13], x_BCHW[:, :, :, 3:], rtol=0, atol=1e-5)
    assert shifted[:, :, :, 13:].abs().max() < 1e-5


def test_the_classifiers_loss_reaches_every_weight_of_the_localizer() -> None:
    torch.manual_seed(0)
    localizer = Localizer(ARCH, SIZE_PX)
    nn.init.normal_(localizer.last.weight, std=0.1)
    model = TransformedClassifier(
        SpatialTransformer(localizer), nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE_PX**2, 4))
    )
    logits_BK, theta_B23 = model(torch.randn(8, 3, SIZE_PX, SIZE_PX))
    nn.functional.cross_entropy(logits_BK, torch.arange(8) % 4).backward()
    assert theta_B23.shape == (8, 2, 3)
    for name, weight in localizer.named_parameters():
        if name not in ("features.0.bias", "features.3.bias"):  # the batch norms take these away
            assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_theta_gets_the_gradient_of_finite_differences() -> None:
    """In a smooth image whose whole warp stays inside: at its edge the loss has kinks."""
    across = torch.linspace(-1, 1, 64)
    x_BCHW = torch.sin(2 * across[None, None, :, None] + across[None, None, None, :])
    weight_BCHW = torch.cos(3 * x_BCHW)
    theta_6 = torch.tensor([0.8, 0.1, 0.05, -0.1, 0.7, 0.02], requires_grad=True)

    def loss(theta_6: torch.Tensor) -> torch.Tensor:
        return (warp(x_BCHW, theta_6.view(1, 2, 3)) * weight_BCHW).sum()

    loss(theta_6).backward()
    assert theta_6.grad is not None
    for i in range(6):
        step = torch.zeros(6)
        step[i] = 1e-2
        slope = (loss(theta_6.detach() + step) - loss(theta_6.detach() - step)) / 2e-2
        assert theta_6.grad[i].item() == pytest.approx(slope.item(), rel=0.03, abs=0.3)


def test_sampling_is_in_float32_under_autocast() -> None:
    x_BCHW = torch.rand(2, 3, 64, 64)
    transformer = SpatialTransformer(Constant(0.9, 0.123, 0.0456, -0.123, 0.9, 0.0789))
    grid_HW2 = nn.functional.affine_grid(transformer.localizer.theta_6.view(1, 2, 3).double(), [1, 3, 64, 64], False)  # type: ignore[union-attr, operator, list-item]
    exact_BCHW = nn.functional.grid_sample(x_BCHW.double(), grid_HW2.expand(2, -1, -1, -1), align_corners=False)
    with torch.autocast("cpu", torch.bfloat16):
        warped_BCHW, theta_B23 = transformer(x_BCHW)
        half_BCHW = warp(x_BCHW.bfloat16(), theta_B23.bfloat16())
    assert warped_BCHW.dtype == theta_B23.dtype == half_BCHW.dtype == torch.float32
    torch.testing.assert_close(warped_BCHW.double(), exact_BCHW, rtol=0, atol=1e-4)


def test_without_a_transformer_the_classifier_sees_the_image() -> None:
    x_BCHW = torch.rand(2, 3, 8, 8)
    logits, theta = TransformedClassifier(None, nn.Flatten())(x_BCHW)
    assert torch.equal(logits, x_BCHW.flatten(1))
    assert theta is None

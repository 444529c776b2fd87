"""Views, against arithmetic on single points and pixels."""

import math

import pytest
import torch
from smooth_images import smooth_images
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.functional import affine as torchvision_affine

from lstn_search.data.views import View, resample
from lstn_search.errors import SettingError
from lstn_search.nets.transformer import warp
from lstn_search.spec.names import VIEW_NAMES


def draw(view: View | None, num: int, seed: int = 0) -> torch.Tensor:
    assert view is not None
    return view.draw(num, torch.Generator().manual_seed(seed))


def test_every_draw_is_a_rotation_a_scale_and_a_shift_within_its_ranges() -> None:
    view = View(degrees=30, scale=(0.5, 2.0), shift=0.2)
    theta_N23 = draw(view, 20_000)
    a, b = theta_N23[:, 0, 0], theta_N23[:, 1, 0]
    torch.testing.assert_close(theta_N23[:, 1, 1], a)
    torch.testing.assert_close(theta_N23[:, 0, 1], -b)
    drawn = {
        "degrees": (torch.atan2(b, a).rad2deg(), -30.0, 30.0),
        "log scale": (torch.hypot(a, b).log(), math.log(0.5), math.log(2)),
        "shift x": (theta_N23[:, 0, 2], -0.2, 0.2),
        "shift y": (theta_N23[:, 1, 2], -0.2, 0.2),
    }
    for name, (values, low, high) in drawn.items():
        width = high - low
        assert low - 1e-4 <= values.min() < low + 0.01 * width, name
        assert high - 0.01 * width < values.max() <= high + 1e-4, name
        assert abs(values.mean() - (low + high) / 2) < 0.02 * width, name
        assert abs(values.std() - width / math.sqrt(12)) < 0.02 * width, f"{name} is not uniform"


def test_draws_depend_on_the_generator_alone() -> None:
    assert torch.equal(draw(View(), 8, seed=3), draw(View(), 8, seed=3))
    assert not torch.equal(draw(View(), 8, seed=3), draw(View(), 8, seed=4))


def test_strength_scales_the_ranges_and_leaves_the_identity_inside() -> None:
    gentle, full, hard = (View.named("affine", strength) for strength in (0.5, 1, 2))
    assert full == View()
    assert gentle and hard
    assert (gentle.degrees, gentle.shift) == (22.5, 0.15)
    assert (hard.degrees, hard.shift) == (90, 0.6)
    assert hard.scale == pytest.approx((0.8**2, 1.6**2))
    assert gentle.scale == pytest.approx((math.sqrt(0.8), math.sqrt(1.6)))
    assert View.named("none") is None


@pytest.mark.parametrize("strength", [0, -1, 2.01, math.nan, math.inf])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(SettingError, match="view strength must be a number above 0 and up to 2, got"):
        View.named("affine", strength)


def test_an_unknown_view_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingError, match=r"unknown view 'afine'; did you mean 'affine'\?"):
        View.named("afine")
    assert [View.named(name) for name in VIEW_NAMES] == [View(), None]


def test_theta_says_for_each_output_point_which_input_point_it_shows() -> None:
    size = 9
    theta_B23 = torch.tensor([[[0.5, -0.3, 0.1], [0.2, 0.6, -0.2]]])
    x_BCHW = torch.rand(1, 1, size, size)
    warped_BCHW = warp(x_BCHW, theta_B23)
    for row, column in [(4, 4), (2, 5), (6, 3)]:
        point = torch.tensor([(2 * column + 1) / size - 1, (2 * row + 1) / size - 1, 1.0])  # the pixel's centre
        x, y = (((theta_B23[0] @ point + 1) * size - 1) / 2).tolist()  # in pixels of the input
        left, top = math.floor(x), math.floor(y)
        expected = sum(
            x_BCHW[0, 0, top + i, left + j].item() * (1 - abs(y - top - i)) * (1 - abs(x - left - j))
            for i in (0, 1)
            for j in (0, 1)
        )
        assert warped_BCHW[0, 0, row, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("degrees", "scale", "shift_px"), [(30, 1.0, (0, 0)), (0, 0.7, (3, -2)), (-20, 1.3, (-4, 1))])
def test_a_warp_is_torchvisions_affine(degrees: float, scale: float, shift_px: tuple[int, int]) -> None:
    """torchvision turns clockwise about the centre, enlarges by `scale`, then moves by `shift_px`."""
    size = 32
    x_BCHW = smooth_images(1, size)
    expected = torchvision_affine(
        x_BCHW, degrees, list(shift_px), scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    forward_33 = torch.tensor(
        [
            [scale * cos, -scale * sin, 2 * shift_px[0] / size],
            [scale * sin, scale * cos, 2 * shift_px[1] / size],
            [0.0, 0.0, 1.0],
        ]
    )  # input -> output, y down
    torch.testing.assert_close(warp(x_BCHW, torch.linalg.inv(forward_33)[None, :2]), expected, rtol=0, atol=2e-4)


def test_what_lies_outside_is_zero() -> None:
    zoomed_out = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])
    warped = warp(torch.ones(1, 3, 16, 16), zoomed_out)
    assert warped.sum().item() == pytest.approx(3 * 16, rel=0.3)  # a sixteenth of the area is left
    assert warped[:, :, :5].abs().max() == 0


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 20)])
def test_resample_is_warp_up_to_rounding(height: int, width: int) -> None:
    theta_N23 = draw(View.named("affine"), 8)
    x_NCHW = smooth_images(8, 20)[:, :, :height, :width]
    torch.testing.assert_close(resample(x_NCHW, theta_N23), warp(x_NCHW, theta_N23), rtol=0, atol=1e-5)

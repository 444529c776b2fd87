"""Views, against arithmetic on single points and pixels."""

import math

import pytest
import torch
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.functional import affine as torchvision_affine

from lstn_search.data.views import View, corner_error_px, invert, resample
from lstn_search.errors import SettingError
from lstn_search.nets.transformer import warp
from lstn_search.spec.names import VIEW_NAMES


def draw(view: View | None, num: int, seed: int = 0) -> torch.Tensor:
    assert view is not None
    return view.draw(num, torch.Generator().manual_seed(seed))


def smooth_images(num: int, size: int) -> torch.Tensor:
    """Waves a few pixels long, which bilinear interpolation hardly changes."""
    across = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    phase = torch.arange(num * 3).view(num, 3, 1, 1)
    return torch.sin(3 * x + 2 * y + phase)


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


def test_the_inverse_is_the_inverse_matrix() -> None:
    theta_N23 = draw(View(), 50)
    last_row = torch.tensor([0.0, 0.0, 1.0]).expand(50, 1, 3)
    square, inverse = (torch.cat([theta, last_row], dim=1) for theta in (theta_N23, invert(theta_N23)))
    torch.testing.assert_close(square @ inverse, torch.eye(3).expand(50, 3, 3), rtol=0, atol=1e-5)


def test_a_warp_is_undone_by_its_inverse_where_nothing_left_the_frame() -> None:
    size = 96
    x_BCHW = smooth_images(40, size)
    theta_B23 = draw(View(), 40)
    there_and_back = warp(warp(x_BCHW, theta_B23), invert(theta_B23))
    visible = warp(warp(torch.ones_like(x_BCHW), theta_B23), invert(theta_B23)) > 0.999
    assert visible.float().mean() > 0.5
    assert (there_and_back - x_BCHW)[visible].abs().max() < 0.02
    assert (warp(x_BCHW, theta_B23) - x_BCHW)[visible].abs().mean() > 0.3


def test_what_lies_outside_is_zero() -> None:
    zoomed_out = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])
    warped = warp(torch.ones(1, 3, 16, 16), zoomed_out)
    assert warped.sum().item() == pytest.approx(3 * 16, rel=0.3)  # a sixteenth of the area is left
    assert warped[:, :, :5].abs().max() == 0


def test_corner_error_is_the_mean_distance_of_the_four_corners_in_pixels() -> None:
    theta_N23, target_N23 = draw(View(), 5, seed=1), draw(View(), 5, seed=2)
    errors = corner_error_px(theta_N23, target_N23, 224)
    for theta_23, target_23, error in zip(theta_N23.tolist(), target_N23.tolist(), errors.tolist(), strict=True):
        total = 0.0
        for x, y in [(-1, -1), (1, -1), (-1, 1), (1, 1)]:
            here, there = (
                [(row[0] * x + row[1] * y + row[2] + 1) / 2 * 224 for row in rows] for rows in (theta_23, target_23)
            )
            total += math.dist(here, there)
        assert error == pytest.approx(total / 4, rel=1e-4)


def test_a_shift_of_one_pixel_is_a_corner_error_of_one_pixel() -> None:
    theta_B23 = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    moved_B23 = theta_B23 + torch.tensor([[0.0, 0.0, 2 / 64], [0.0, 0.0, 0.0]])
    assert corner_error_px(moved_B23, theta_B23, 64).tolist() == pytest.approx([1.0])
    assert corner_error_px(theta_B23, theta_B23, 64).tolist() == [0.0]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 20)])
def test_resample_is_warp_up_to_rounding(height: int, width: int) -> None:
    theta_N23 = draw(View.named("affine"), 8)
    x_NCHW = smooth_images(8, 20)[:, :, :height, :width]
    torch.testing.assert_close(resample(x_NCHW, theta_N23), warp(x_NCHW, theta_N23), rtol=0, atol=1e-5)

"""Warps as matrices: each family against its matrix written out by hand, and the arithmetic against torch.linalg."""

import math

import pytest
import torch
from smooth_images import smooth_images

from lstn_search.data.views import View
from lstn_search.nets.transformer import warp
from lstn_search.nets.warps import compose, corner_error_px, invert, to_matrix
from lstn_search.spec.warp_families import WARP_FAMILIES, WarpFamily

BY_HAND = {  # parameters, and the two rows of theta
    "affine": ([0.9, 0.1, 0.2, -0.3, 1.1, -0.4], [[0.9, 0.1, 0.2], [-0.3, 1.1, -0.4]]),
    "similarity": ([0.9, 0.1, 0.2, -0.3], [[0.9, -0.1, 0.2], [0.1, 0.9, -0.3]]),
    "crop": ([0.9, 0.1, -0.3], [[0.9, 0, 0.1], [0, 0.9, -0.3]]),
}


def draw(num: int, seed: int = 0) -> torch.Tensor:
    return View().draw(num, torch.Generator().manual_seed(seed))


def square(theta_N23: torch.Tensor) -> torch.Tensor:
    """The same warps as 3 x 3 matrices on (x, y, 1)."""
    return torch.cat([theta_N23, torch.tensor([0.0, 0.0, 1.0]).expand(len(theta_N23), 1, 3)], dim=1)


# -- families ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WARP_FAMILIES)
def test_a_family_is_its_matrix_by_hand(name: str) -> None:
    params, rows = BY_HAND[name]
    params_BP = torch.tensor([params, WARP_FAMILIES[name].identity], requires_grad=True)
    theta_B23 = to_matrix(params_BP, WARP_FAMILIES[name])
    assert torch.equal(theta_B23, torch.stack([torch.tensor(rows), torch.eye(2, 3)]))
    theta_B23.sum().backward()
    assert params_BP.grad is not None
    for params_P, grad_P in zip(params_BP, params_BP.grad, strict=True):  # theta is linear
        jacobian_23P = torch.autograd.functional.jacobian(
            lambda p: to_matrix(p[None], WARP_FAMILIES[name])[0], params_P
        )
        assert torch.equal(jacobian_23P.sum(dim=(0, 1)), grad_P)
        assert set(jacobian_23P.flatten().tolist()) <= {-1, 0, 1}
        assert torch.equal(jacobian_23P @ params_P, to_matrix(params_P[None], WARP_FAMILIES[name])[0])


def test_a_row_may_hold_parameters_with_a_minus_and_zeros() -> None:
    family = WarpFamily.parse("s -t 0, 0 s -u")
    assert (family.params, family.identity) == (("s", "t", "u"), (1, 0, 0))
    assert to_matrix(torch.tensor([[3.0, 5.0, 7.0]]), family).tolist() == [[[3, -5, 0], [0, 3, -7]]]


# -- matrices ----------------------------------------------------------------------------------------------------------


def test_the_inverse_is_the_inverse_matrix() -> None:
    theta_N23 = draw(50)
    torch.testing.assert_close(square(invert(theta_N23)), torch.linalg.inv(square(theta_N23)), rtol=0, atol=1e-5)


def test_one_warp_for_two_is_the_product_of_their_matrices() -> None:
    first_N23, then_N23 = draw(50, seed=1), draw(50, seed=2)
    composed_N23 = compose(first_N23, then_N23)
    torch.testing.assert_close(square(composed_N23), square(first_N23) @ square(then_N23), rtol=0, atol=1e-5)
    there_and_back_N23 = compose(first_N23, invert(first_N23))
    torch.testing.assert_close(there_and_back_N23, torch.eye(2, 3).expand(50, 2, 3), rtol=0, atol=1e-5)


def test_one_warp_for_two_shows_what_the_two_show_where_nothing_left_the_frame() -> None:
    x_BCHW, first_B23, then_B23 = smooth_images(40, 96), draw(40, seed=1), draw(40, seed=2)
    ones_BCHW = torch.ones_like(x_BCHW)
    visible = warp(warp(ones_BCHW, first_B23), then_B23) > 0.999
    assert visible.float().mean() > 0.2
    gap_BCHW = warp(warp(x_BCHW, first_B23), then_B23) - warp(x_BCHW, compose(first_B23, then_B23))
    assert gap_BCHW[visible].abs().max() < 0.02


def test_a_warp_is_undone_by_its_inverse_where_nothing_left_the_frame() -> None:
    size = 96
    x_BCHW = smooth_images(40, size)
    theta_B23 = draw(40)
    there_and_back = warp(warp(x_BCHW, theta_B23), invert(theta_B23))
    visible = warp(warp(torch.ones_like(x_BCHW), theta_B23), invert(theta_B23)) > 0.999
    assert visible.float().mean() > 0.5
    assert (there_and_back - x_BCHW)[visible].abs().max() < 0.02
    assert (warp(x_BCHW, theta_B23) - x_BCHW)[visible].abs().mean() > 0.3


def test_corner_error_is_the_mean_distance_of_the_four_corners_in_pixels() -> None:
    theta_N23, target_N23 = draw(5, seed=1), draw(5, seed=2)
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

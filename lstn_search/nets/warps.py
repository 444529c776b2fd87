"""Warps as matrices theta_B23: made from a family's parameters, undone, chained, compared."""

import torch

from lstn_search.spec.warp_families import WarpFamily

__all__ = ["compose", "corner_error_px", "invert", "to_matrix"]


def to_matrix(params_BP: torch.Tensor, family: WarpFamily) -> torch.Tensor:
    """theta_B23 (output -> input, in [-1, 1] coordinates) from the family's parameters."""
    if family.entries == family.params:
        return params_BP.view(-1, 2, 3)
    column_of = dict(zip(family.params, params_BP.unbind(1), strict=True))
    column_of |= {f"-{name}": -column_B for name, column_B in column_of.items()}
    column_of["0"] = torch.zeros_like(params_BP[:, 0])
    return torch.stack([column_of[entry] for entry in family.entries], dim=1).view(-1, 2, 3)


def invert(theta_B23: torch.Tensor) -> torch.Tensor:
    """The warps that undo these: warp(warp(x, theta), invert(theta)) is x where nothing left the frame."""
    matrix_B22, shift_B21 = theta_B23[:, :, :2], theta_B23[:, :, 2:]
    inverse_B22 = torch.linalg.inv(matrix_B22)
    return torch.cat([inverse_B22, -inverse_B22 @ shift_B21], dim=2)


def compose(first_B23: torch.Tensor, then_B23: torch.Tensor) -> torch.Tensor:
    """One warp for two: warp(x, compose(first, then)) is warp(warp(x, first), then) where nothing left the frame."""
    matrix_B22, shift_B21 = first_B23[:, :, :2], first_B23[:, :, 2:]
    product_B23 = matrix_B22 @ then_B23
    return torch.cat([product_B23[:, :, :2], product_B23[:, :, 2:] + shift_B21], dim=2)


def corner_error_px(theta_B23: torch.Tensor, target_B23: torch.Tensor, image_size: int) -> torch.Tensor:
    """Mean distance of the four frame corners under two warps, in pixels of an `image_size` image; one per sample."""
    corners_34 = torch.tensor([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    gap_B24 = (theta_B23 - target_B23) @ corners_34.to(theta_B23)
    error_B: torch.Tensor = torch.linalg.vector_norm(gap_B24, dim=1).mean(dim=1) * (image_size / 2)
    return error_B

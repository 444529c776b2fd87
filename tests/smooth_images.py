"""Images that a warp hardly blurs, for tests that compare warps pixel by pixel."""

import torch

__all__ = ["smooth_images"]


def smooth_images(num: int, size: int) -> torch.Tensor:
    """Waves a few pixels long, which bilinear interpolation hardly changes."""
    across = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    phase = torch.arange(num * 3).view(num, 3, 1, 1)
    return torch.sin(3 * x + 2 * y + phase)

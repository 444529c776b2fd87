"""The spatial transformer: localizer + grid generator + sampler, and the classifier behind it."""

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["SpatialTransformer", "TransformedClassifier", "warp"]


def warp(x_BCHW: torch.Tensor, theta_B23: torch.Tensor) -> torch.Tensor:
    """Resample each image along its own affine map: output pixel p shows input point theta @ (p, 1).

    Coordinates run over [-1, 1] between the image's outer edges (align_corners=False); bilinear, zeros outside.
    Always in float32 and without autocast: half precision moves the sampling points by whole pixels.
    """
    with torch.autocast(device_type=x_BCHW.device.type, enabled=False):
        grid_BHW2 = F.affine_grid(theta_B23.float(), list(x_BCHW.shape), align_corners=False)
        return F.grid_sample(x_BCHW.float(), grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)


class SpatialTransformer(nn.Module):
    """Looks at the image with the localizer and resamples the image by what it says (Jaderberg et al. 2015)."""

    def __init__(self, localizer: nn.Module) -> None:
        super().__init__()
        self.localizer = localizer

    def forward(self, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images -> (resampled images of the same shape, theta_B23)."""
        theta_B23 = self.localizer(x_BCHW).float()
        return warp(x_BCHW, theta_B23), theta_B23


class TransformedClassifier(nn.Module):
    """A classifier that sees the image through a spatial transformer, or as it is when `transformer` is None."""

    def __init__(self, transformer: SpatialTransformer | None, backbone: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.backbone = backbone

    def forward(self, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images -> (logits B x classes, theta_B23 or None)."""
        theta_B23 = None
        if self.transformer is not None:
            x_BCHW, theta_B23 = self.transformer(x_BCHW)
        return self.backbone(x_BCHW), theta_B23

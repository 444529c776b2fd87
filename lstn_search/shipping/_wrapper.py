"""The text of model.py that is the same for every net: what surrounds the localization net."""

__all__ = ["IMPORTS", "RESIZE", "TRANSFORMER", "WEIGHTS"]

IMPORTS = """\
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn"""

WEIGHTS = 'WEIGHTS = Path(__file__).with_name("weights.pt")'

RESIZE = """\
        if images.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            images = F.interpolate(
                images,
                size=(IMAGE_SIZE, IMAGE_SIZE),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
"""
"""In front of a net that was built for one size of image; in the place of `RESIZE` in TRANSFORMER."""

TRANSFORMER = '''\
class SpatialTransformer(nn.Module):
    """Warps each image by the affine map that the localization net reads from it.

    Theta and the warp stay in float32 under autocast: half precision would move the
    sampling points by whole pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.localizer = LocalizationNet()

    def theta(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images B x C x H x W -> affine maps B x 2 x 3.

        Output pixel p shows input point theta @ (p, 1), both in [-1, 1] between the
        outer edges of the image.
        """
RESIZE        return self.localizer(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images B x C x H x W -> the same warped, zero outside the original."""
        theta = self.theta(images)
        with torch.autocast(images.device.type, enabled=False):
            grid = F.affine_grid(theta, list(images.shape), align_corners=False)
            return F.grid_sample(
                images.float(),
                grid,
                mode="bilinear",
                padding_mode="zeros",
                align_corners=False,
            )


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels B x C x H x W from 0 to 255 -> images as the net was trained on."""
    mean = torch.tensor(MEAN, device=pixels.device).view(-1, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(-1, 1, 1)
    return (pixels / 255 - mean) / std


def load(path: str | Path = WEIGHTS, device: str = "cpu") -> SpatialTransformer:
    """The transformer with the weights at `path`, ready for inference.

    Raises FileNotFoundError when there is no such file, ValueError when it does not hold
    weights, and RuntimeError when they are those of another net.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; pass the path of weights.pt")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, LookupError, RuntimeError, ValueError):
        raise ValueError(f"{path} is not a weights file; export it again") from None
    transformer = SpatialTransformer()
    transformer.localizer.load_state_dict(weights)
    return transformer.to(device).eval()


if __name__ == "__main__":
    transformer = load()
    images = torch.randn(1, len(MEAN), IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        theta = transformer.theta(images)
    print(f"{sum(p.numel() for p in transformer.parameters()):,} parameters")
    print(f"theta of an image of noise: {theta[0].tolist()}")
'''

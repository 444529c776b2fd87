"""Small folders of real image files for the tests of the data package."""

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["class_tree", "truncate", "write_image"]


def write_image(path: Path, *, seed: int = 0, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> None:
    """A file with smooth random content: another `seed`, another picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.RandomState(seed).randint(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)


def class_tree(
    root: Path, counts: dict[str, int], *, suffix: str = ".jpg", first_seed: int = 0, size: tuple[int, int] = (40, 30)
) -> Path:
    """`counts[class]` images in each folder root/class; no two alike."""
    seed = first_seed
    for class_name, count in counts.items():
        for number in range(count):
            write_image(root / class_name / f"image_{number:04d}{suffix}", seed=seed, size=size)
            seed += 1
    return root


def truncate(path: Path) -> None:
    """Cut the second half of a file off, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

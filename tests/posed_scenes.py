"""Images of objects that were never upright: the pictures of small_training.py, pasted turned on a noisy ground."""

from pathlib import Path

import numpy as np
import small_training
from PIL import Image

__all__ = ["NUM", "SCENE_PX", "Box", "draw_scenes", "write_boxes"]

SCENE_PX = 32
NUM = {"train": 20, "val": 12, "test": 6}
"""Of each class."""

Box = tuple[float, float, float, float, float]
"""x1, y1, x2, y2 of the object as it would be upright, and by how many degrees it is turned clockwise."""


def draw_scenes(root: Path) -> dict[str, Box]:
    """root/{train,val,test}/<class>/<number>.png and root/boxes.csv beside them; the boxes by file."""
    rng = np.random.RandomState(1)
    boxes: dict[str, Box] = {}
    for part, count in NUM.items():
        for label in range(small_training.CLASSES):
            folder = root / "images" / part / f"dot {label}"
            folder.mkdir(parents=True)
            for number in range(count):
                scene, box = _scene(label, rng)
                scene.save(folder / f"{number}.png")
                boxes[f"{part}/dot {label}/{number}.png"] = box
    write_boxes(root / "boxes.csv", boxes)
    return boxes


def write_boxes(path: Path, boxes: dict[str, Box]) -> Path:
    """The table that --poses takes."""
    rows = [",".join(map(str, (file, *box, SCENE_PX, SCENE_PX))) for file, box in boxes.items()]
    path.write_text("\n".join(["file,x1,y1,x2,y2,degrees,width,height", *rows, ""]))
    return path


def _scene(label: int, rng: np.random.RandomState) -> tuple[Image.Image, Box]:
    scene = Image.fromarray(rng.randint(0, 60, (SCENE_PX, SCENE_PX, 3)).astype(np.uint8))
    picture = Image.fromarray(small_training.draw(label, rng))
    side, degrees = int(rng.randint(14, 20)), float(rng.randint(-40, 41))
    reach = side / 2**0.5
    x, y = (round(float(v), 1) for v in rng.uniform(reach, SCENE_PX - reach, 2))
    mask = Image.new("L", picture.size, 255)
    # From the scene back to the picture: about the middle, against the clock, and stretched.
    turn, scale = np.deg2rad(degrees), small_training.SIZE_PX / side
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    middle = small_training.SIZE_PX / 2
    back = (a, b, middle - a * x - b * y, -b, a, middle + b * x - a * y)
    size = (SCENE_PX, SCENE_PX)
    turned = picture.transform(size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    scene.paste(turned, (0, 0), mask.transform(size, Image.Transform.AFFINE, back))
    half = side / 2
    return scene, (x - half, y - half, x + half, y + half, degrees)

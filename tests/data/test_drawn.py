"""What both built-in datasets promise of their pictures."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from lstn_search.data import clutter, glyphs
from lstn_search.data.glyphs import Draw

DRAW = {"glyphs": glyphs.draw, "clutter": clutter.draw}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_the_same_in_every_process(name: str) -> None:
    drawn = "b''.join(draw('R', number=n, image_size=48).tobytes() for n in range(9))"
    code = f"import hashlib; from lstn_search.data.{name} import draw; print(hashlib.sha256({drawn}).hexdigest())"
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    here = b"".join(DRAW[name]("R", number=number, image_size=48).tobytes() for number in range(9))
    assert hashlib.sha256(here).hexdigest() == there


@pytest.mark.parametrize("image_size", [16, 64, 224])
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_sizes_differ_only_in_resolution_and_noise(draw: Draw, image_size: int) -> None:
    picture = draw("K", number=5, image_size=image_size)
    assert picture.shape == (image_size, image_size, 3) and picture.dtype == np.uint8
    coarse = [
        image.reshape(8, len(image) // 8, 8, len(image) // 8, 3).mean(axis=(1, 3))
        for image in (picture, draw("K", number=5, image_size=128))
    ]
    assert np.abs(coarse[0] - coarse[1]).mean() < 15

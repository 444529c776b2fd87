"""Glyphs anywhere on clutter: placed exactly, hidden in the whole image, readable where their poses cut them out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from lstn_search.data import clutter, load_dataset
from lstn_search.data.clutter import draw, place_of, silhouette
from lstn_search.data.glyphs import CHARACTERS
from lstn_search.data.poses import theta_of
from lstn_search.nets.transformer import warp

NUM = 128
Floats = npt.NDArray[np.float64]


def _thetas() -> torch.Tensor:
    return torch.tensor([theta_of(place_of(number).pose, (1, 1)) for number in range(NUM)])


def _cut_out(images: list[Image.Image]) -> Floats:
    x_BCHW = torch.from_numpy(np.stack([np.asarray(image, np.float32) for image in images]))[:, None]
    return warp(x_BCHW, _thetas())[:, 0].double().numpy()


def _upright(character: str, side: int) -> Floats:
    """The character in the middle of a square, its ink 0.86 of the side, drawn without a line of the dataset's."""
    font = ImageFont.load_default(200)
    large = Image.new("L", (400, 400))
    ImageDraw.Draw(large).text((100, 100), character, fill=255, font=font, stroke_width=6)
    ink = large.crop(large.getbbox())
    square = round(max(ink.size) / 0.86)
    canvas = Image.new("L", (square, square))
    canvas.paste(ink, ((square - ink.width) // 2, (square - ink.height) // 2))
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float64)


def _said(pictures: Floats, templates: Floats) -> npt.NDArray[np.int64]:
    """The template that each picture correlates with most, whichever is the darker."""
    rows, columns = (
        (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
        for flat in (all_.reshape(len(all_), -1) for all_ in (pictures, templates))
    )
    return np.abs(rows @ columns.T).argmax(axis=1)


def test_it_loads_without_any_download_and_knows_its_poses(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clutter, "SIZES", (96, 32, 32))
    dataset = load_dataset("clutter", image_size=16, poses="known", progress=False)
    assert [len(part) for part in (dataset.train_I, dataset.val_I, dataset.test_I)] == [96, 32, 32]
    assert torch.bincount(dataset.labels_N[dataset.train_I]).tolist() == [3] * 32
    assert dataset.class_names == tuple(CHARACTERS)
    number = 77
    expected = draw(CHARACTERS[number % 32], number=number, image_size=16)
    np.testing.assert_array_equal(dataset.images_NHWC[number].numpy(), expected)
    assert bool(dataset.posed_N.all()) and len(dataset.poses_fingerprint) == 64
    torch.testing.assert_close(dataset.pose_N23[:NUM], _thetas(), rtol=0, atol=1e-6)
    upright = load_dataset("clutter", image_size=16, progress=False)
    assert upright.poses_fingerprint == "" and upright.fingerprint == dataset.fingerprint


def test_places_are_as_wide_as_promised_and_inside_the_image() -> None:
    places = [place_of(number) for number in range(2000)]
    side, degrees = np.array([place.side for place in places]), np.array([place.degrees for place in places])
    assert 0.25 <= side.min() < 0.26 and 0.49 < side.max() <= 0.5
    assert -40 <= degrees.min() < -39 and 39 < degrees.max() <= 40 and abs(degrees.mean()) < 1
    corners_34 = torch.tensor([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert (_thetas() @ corners_34).abs().max() <= 1 + 1e-6


def test_the_ink_lies_in_the_middle_of_its_box() -> None:
    """By its centre of mass in the image, and by its bounds in what the pose cuts out."""
    images = [silhouette(CHARACTERS[number % 32], place_of(number), 128) for number in range(NUM)]
    for number, image in enumerate(images):
        ink, place = np.asarray(image, float), place_of(number)
        middles = (np.arange(128) + 0.5) / 128
        x, y = (ink @ middles).sum() / ink.sum(), (middles @ ink).sum() / ink.sum()
        assert np.hypot(x - place.x, y - place.y) < 0.2 * place.side
    for crop in _cut_out(images):
        ys, xs = np.nonzero(crop > 100)
        x1, x2, y1, y2 = xs.min() / 128, (xs.max() + 1) / 128, ys.min() / 128, (ys.max() + 1) / 128
        assert abs(x1 + x2 - 1) < 0.06 and abs(y1 + y2 - 1) < 0.06
        assert 0.8 < max(x2 - x1, y2 - y1) < 0.92


def test_a_glyph_is_told_by_its_shape_where_its_pose_cuts_it_out_and_not_in_the_whole_image() -> None:
    images = [
        Image.fromarray(draw(CHARACTERS[number % 32], number=number, image_size=64)).convert("L")
        for number in range(NUM)
    ]
    templates = np.stack([_upright(character, 64) for character in CHARACTERS])
    labels = np.arange(NUM) % len(CHARACTERS)
    whole = np.stack([np.asarray(image, float) for image in images])
    assert (_said(_cut_out(images), templates) == labels).mean() > 0.75
    assert (_said(whole, templates) == labels).mean() < 0.15


def test_a_fragment_shows_at_most_two_fifths_of_its_glyphs_box() -> None:
    place, black = clutter.Place(x=3.0, y=3.0, side=0.4, degrees=0.0), np.zeros(3)  # out of the way
    for number in range(200):
        canvas = Image.new("RGB", (128, 128), (255, 255, 255))
        clutter._fragment(canvas, np.random.RandomState(number), place, black, 1)
        painted = 1 - np.asarray(canvas.convert("L"), float) / 255
        assert painted.sum() <= 0.4 * (0.86 * 1.2 * 0.4 * 128) ** 2

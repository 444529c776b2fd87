"""Images from Python: what goes in comes out, pixel by pixel, under a name that says its content."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lstn_search as ls
from lstn_search.data import load_dataset
from lstn_search.errors import DataError, LstnError
from lstn_search.spec.names import FOLDER_PREFIX

RNG = np.random.RandomState(0)
IMAGES_NHWC = RNG.randint(0, 256, (24, 8, 8, 3)).astype(np.uint8)
LABELS = [number % 3 for number in range(24)]
NAMES = ["zebra", "ant", "mole"]


class TorchDataset:
    """As torch's are: a length, and items of a tensor C x H x W in [0, 1] and a label."""

    classes = NAMES

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return 24

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        pixels_CHW = torch.from_numpy(IMAGES_NHWC[number]).permute(2, 0, 1) / 255
        return (pixels_CHW + self.noise * torch.rand(1)).clamp(0, 1), LABELS[number]


def test_arrays_become_a_dataset_with_its_labels_in_order(cache_dir: Path) -> None:
    name = ls.dataset(IMAGES_NHWC, LABELS, class_names=NAMES, name="mine")
    assert name.startswith(f"{FOLDER_PREFIX}{cache_dir}/arrays/mine-")
    dataset = load_dataset(name, image_size=8, progress=False)
    assert dataset.class_names == tuple(NAMES) and len(dataset.images_NHWC) == 24
    expected = {image.tobytes(): label for image, label in zip(IMAGES_NHWC, LABELS, strict=True)}
    found = {
        image.numpy().tobytes(): int(label) for image, label in zip(dataset.images_NHWC, dataset.labels_N, strict=True)
    }
    assert found == expected
    assert min(map(len, (dataset.train_I, dataset.val_I, dataset.test_I))) >= 3
    ls.Task(dataset=name)


def test_a_torch_dataset_is_the_same_images(cache_dir: Path) -> None:
    name = ls.dataset(IMAGES_NHWC, LABELS, class_names=NAMES)
    assert ls.dataset(TorchDataset()) == name
    pictures = [(Image.fromarray(image), label) for image, label in zip(IMAGES_NHWC, LABELS, strict=True)]
    assert ls.dataset(pictures, class_names=NAMES) == name
    assert ls.dataset(IMAGES_NHWC, LABELS[::-1], class_names=NAMES) != name
    assert len(list((cache_dir / "arrays").iterdir())) == 2  # nothing is left beside them


def test_parts_are_kept(cache_dir: Path) -> None:
    name = ls.dataset(
        (IMAGES_NHWC[:12], LABELS[:12]), val=(IMAGES_NHWC[12:18], LABELS[12:18]), test=(IMAGES_NHWC[18:], LABELS[18:])
    )
    dataset = load_dataset(name, image_size=8, progress=False)
    assert [len(part) for part in (dataset.train_I, dataset.val_I, dataset.test_I)] == [12, 6, 6]
    assert dataset.class_names == ("0", "1", "2")


def test_grey_images_are_three_equal_channels_and_that_is_said(
    cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(ls.dataset(IMAGES_NHWC[..., 0], LABELS), image_size=8, progress=False)
    assert dataset.images_NHWC.shape == (24, 8, 8, 3)
    assert bool((dataset.images_NHWC == dataset.images_NHWC[..., :1]).all())
    (note,) = dataset.notes
    assert (
        note.endswith("all images looked at are grey: they are shown as three equal channels") and note in caplog.text
    )
    assert ls.dataset(IMAGES_NHWC[..., :1], LABELS) == dataset.name


def test_images_that_are_not_square_are_resized_and_that_is_said(cache_dir: Path) -> None:
    wide_NHWC = RNG.randint(0, 256, (24, 8, 16, 3)).astype(np.uint8)
    (note,) = load_dataset(ls.dataset(wide_NHWC, LABELS), image_size=8, progress=False).notes
    assert "24 of 24 images looked at are not square (16 x 8 px, for one): all are resized to squares, whole" in note
    nearly_NHWC = RNG.randint(0, 256, (24, 19, 20, 3)).astype(np.uint8)
    assert load_dataset(ls.dataset(nearly_NHWC, LABELS), image_size=8, progress=False).notes == ()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"train": IMAGES_NHWC, "labels": LABELS[:5]}, "train has 24 images and 5 labels; give one label an image"),
        ({"train": IMAGES_NHWC.transpose(0, 3, 1, 2), "labels": LABELS}, "channels last: permute others"),
        ({"train": IMAGES_NHWC.astype(np.int32), "labels": LABELS}, "image 0 of train is of int32; give uint8"),
        ({"train": IMAGES_NHWC / 3.0, "labels": LABELS}, "give uint8, or floats from 0 to 1"),
        ({"train": IMAGES_NHWC, "labels": [0.5] * 24}, "image 0 of train has the label 0.5; labels are whole numbers"),
        ({"train": IMAGES_NHWC, "labels": LABELS, "class_names": ["a"]}, "label 2 has no name among 1 class names"),
        ({"train": IMAGES_NHWC, "labels": LABELS, "class_names": ["a"] * 3}, "two classes have the same name"),
        ({"train": IMAGES_NHWC, "labels": LABELS, "class_names": ["a/b", "c", "d"]}, "class 'a/b' holds"),
        ({"train": 5}, "train is 5; give (images, labels), or a torch Dataset"),
        ({"train": [1, 2]}, "item 0 of train is 1; give pairs of an image and its label"),
        ({"train": TorchDataset(noise=0.1)}, "gives other images each time it is read; take its random transforms out"),
    ],
)
def test_what_are_no_images_is_one_line(given: dict[str, Any], line: str, cache_dir: Path) -> None:
    with pytest.raises(LstnError) as caught:
        ls.dataset(**given)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    assert not list(cache_dir.glob("arrays/*"))


def test_a_task_says_where_images_from_python_go() -> None:
    with pytest.raises(DataError, match=r"images from Python are given by lstn_search\.dataset\(\.\.\.\)"):
        ls.Task(dataset=TorchDataset())  # type: ignore[arg-type]

"""The built-in dataset: balanced, deterministic, readable."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lstn_search.data import glyphs, load_dataset
from lstn_search.data.glyphs import CHARACTERS, SIZES, draw


def test_it_loads_without_any_download(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SIZES == (3000, 600, 600)
    monkeypatch.setattr(glyphs, "SIZES", (300, 60, 60))
    dataset = load_dataset("glyphs", image_size=16, cache_dir=cache_dir, progress=False)
    assert (len(dataset.train_I), len(dataset.val_I), len(dataset.test_I)) == (300, 60, 60)
    assert dataset.class_names == tuple(CHARACTERS) and dataset.num_classes == 32
    number = 77
    np.testing.assert_array_equal(
        dataset.images_NHWC[number].numpy(), draw(CHARACTERS[number % 32], number=number, image_size=16)
    )
    per_class = Counter(dataset.labels_N[dataset.train_I].tolist())
    assert max(per_class.values()) - min(per_class.values()) <= 2


def test_characters_are_told_apart_by_their_ink_alone() -> None:
    """Means over many pictures, colours and clutter averaged out: nearest mean finds the class of the other half."""
    contrast = np.empty((2, len(CHARACTERS), 24, 24))
    for half in range(2):
        for label, character in enumerate(CHARACTERS):
            pictures = [draw(character, number=n, image_size=24).astype(float) for n in range(half, 40, 2)]
            contrast[half, label] = np.mean(
                [np.abs(p - np.median(p, axis=(0, 1))).sum(axis=2) for p in pictures], axis=0
            )
    first, second = (half - half.mean(axis=0) for half in contrast)
    distance = np.square(first[:, None] - second[None]).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == np.arange(len(CHARACTERS))).mean() >= 0.9

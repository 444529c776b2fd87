"""Caltech-101: its layouts, its split, and the real thing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import class_tree
from PIL import Image

from lstn_search.data import files, load_dataset
from lstn_search.errors import DataError

COUNTS = {"accordion": 10, "BACKGROUND_Google": 5, "Faces": 20, "wild_cat": 5}


@pytest.mark.parametrize(
    "below", ["caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories", "101_ObjectCategories"]
)
def test_the_folder_may_be_given_at_any_level(tmp_path: Path, cache_dir: Path, below: str) -> None:
    root = class_tree(tmp_path / below, COUNTS)
    above = load_dataset("caltech101", image_size=8, data_dir=tmp_path, cache_dir=cache_dir, progress=False)
    itself = load_dataset("caltech101", image_size=8, data_dir=root, cache_dir=cache_dir, progress=False)
    assert above.class_names == itself.class_names == ("Faces", "accordion", "wild_cat")
    assert above.fingerprint == itself.fingerprint
    assert len(above.images_NHWC) == 35


def test_missing_images_come_with_the_way_to_get_them(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"^there is no folder .*nowhere; give.*download caltech101") as e:
        load_dataset("caltech101", image_size=8, data_dir=tmp_path / "nowhere", cache_dir=cache_dir)
    assert "\n" not in str(e.value)
    with pytest.raises(DataError, match=r"holds no caltech101/101_ObjectCategories; get it with"):
        load_dataset("caltech101", image_size=8, data_dir=tmp_path, cache_dir=cache_dir)
    monkeypatch.setenv("LSTN_DATA_DIR", str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"^dataset 'caltech101' is not in \$LSTN_DATA_DIR .*download caltech101`"):
        load_dataset("caltech101", image_size=8, cache_dir=cache_dir)


@pytest.mark.data
def test_the_real_images(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset("caltech101", image_size=32, data_dir=data_dir, cache_dir=tmp_path, progress=False)
    with monkeypatch.context() as no_decoder:
        no_decoder.setattr(files, "decode", None)  # what was decoded once is not decoded again
        again = load_dataset("caltech101", image_size=32, data_dir=data_dir, cache_dir=tmp_path, progress=False)
    assert torch.equal(first.train_I, again.train_I) and first.fingerprint == again.fingerprint

    assert first.images_NHWC.shape == (8677, 32, 32, 3) and first.images_NHWC.dtype == torch.uint8
    assert first.num_classes == 101 and first.num_skipped == 0
    assert (len(first.train_I), len(first.val_I), len(first.test_I)) == (6277, 1200, 1200)
    every = torch.cat([first.train_I, first.val_I, first.test_I])
    assert torch.equal(every.sort().values, torch.arange(8677))
    for part in (first.train_I, first.val_I, first.test_I):
        assert len(first.labels_N[part].unique()) == 101
    # Written down once: every machine must find the same.
    assert first.split_fingerprint == "053d0be4f152193919b79ebedb7d4e9fe102f5e56142068db2b410a6220c8924"
    assert first.fingerprint == "a7405b488a66defce512dd07406f9f5d4146368a10c070eb6730aafd012f1262"

    # The images by a second way: sorted names, Pillow alone (small photos, so that no JPEG is decoded at a fraction).
    folder = data_dir / "caltech101" / "101_ObjectCategories"
    paths = sorted((p for p in folder.rglob("*.jpg") if p.parent.name != "BACKGROUND_Google"), key=str)
    for row in range(0, 8677, 500):
        with Image.open(paths[row]) as image:
            expected = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
        assert first.class_names[int(first.labels_N[row])] == paths[row].parent.name
        assert np.abs(first.images_NHWC[row].numpy() - expected).mean() < 6

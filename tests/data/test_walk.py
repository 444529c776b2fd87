"""Folders as people keep them: links, pipes, network drives, odd suffixes."""

import functools
import os
import shutil
from pathlib import Path

import image_trees
import pytest

from lstn_search.data import Dataset, load_dataset
from lstn_search.data.walk import Tree
from lstn_search.errors import DataError

SQUARE = (32, 32)
"""That others are resized is said, beside what is said here."""
class_tree = functools.partial(image_trees.class_tree, size=SQUARE)
write_image = functools.partial(image_trees.write_image, size=SQUARE)


def _load(root: Path) -> Dataset:
    return load_dataset(f"folder:{root}", image_size=8, progress=False)


def _link(link: Path, to: str | Path) -> None:
    link.symlink_to(to, target_is_directory=True)


@pytest.mark.usefixtures("cache_dir")
@pytest.mark.parametrize("to", ["..", ".", "../..", "../b", "../b/more"])
def test_a_link_to_what_is_read_anyway_or_lies_above_adds_no_image(tmp_path: Path, to: str) -> None:
    root = class_tree(tmp_path / "above" / "set", {"a": 5, "b": 5})
    class_tree(root / "b", {"more": 2}, first_seed=50)
    class_tree(tmp_path / "above", {"elsewhere": 5}, first_seed=100)
    plain = _load(root)
    _link(root / "a" / "up", to)
    linked = _load(root)
    assert linked.fingerprint == plain.fingerprint and len(linked.images_NHWC) == 12
    assert linked.notes == (f"folder:{root}: ignored: 1 links to what is read already or lies above",)


@pytest.mark.usefixtures("cache_dir")
def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "set", {"a": 5, "b": 5})
    for one, other in (("x", "y"), ("y", "x")):
        (tmp_path / one).mkdir()
        write_image(tmp_path / one / f"{one}.png", seed=ord(one))
        _link(tmp_path / one / "on", tmp_path / other)
    _link(root / "a" / "x", tmp_path / "x")
    _link(root / "b" / "itself", "itself")
    assert Tree(root).files("a")[-2:] == ["a/x/on/y.png", "a/x/x.png"]
    assert len(_load(root).images_NHWC) == 12


@pytest.mark.usefixtures("cache_dir")
def test_a_test_part_that_is_a_link_to_train_is_no_part(tmp_path: Path) -> None:
    class_tree(tmp_path / "train", {"a": 10, "b": 10})
    _link(tmp_path / "test", "train")
    dataset = _load(tmp_path)
    assert len(dataset.images_NHWC) == 20 and (len(dataset.val_I), len(dataset.test_I)) == (3, 3)
    assert "1 links to what is read already" in dataset.notes[0]


@pytest.mark.usefixtures("cache_dir")
def test_class_folders_and_files_may_be_links_to_elsewhere_each_once(tmp_path: Path) -> None:
    pool = class_tree(tmp_path / "pool", {"a": 6, "b": 6})
    plain = _load(pool)
    root = tmp_path / "set"
    (root / "b").mkdir(parents=True)
    _link(root / "a", pool / "a")
    for file in sorted((pool / "b").iterdir()):
        (root / "b" / file.name).symlink_to(file)
    assert _load(root).fingerprint == plain.fingerprint
    (root / "b" / "later.jpg").symlink_to(pool / "b" / "image_0000.jpg")
    (root / "b" / "of-a.jpg").symlink_to("../a/image_0000.jpg")
    assert _load(root).fingerprint == plain.fingerprint


@pytest.mark.usefixtures("cache_dir")
def test_files_in_a_hidden_store_are_read_through_their_links(tmp_path: Path) -> None:
    """As git-annex keeps them."""
    root = class_tree(tmp_path / "set", {"a": 6, "b": 6})
    plain = _load(root)
    (root / ".git").mkdir()
    for file in sorted((root / "a").iterdir()):
        kept = root / ".git" / file.name
        shutil.move(file, kept)
        file.symlink_to(Path("..") / ".git" / kept.name)
    assert _load(root).fingerprint == plain.fingerprint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.usefixtures("cache_dir")
def test_a_pipe_or_a_device_is_no_image(tmp_path: Path) -> None:
    root = class_tree(tmp_path, {"a": 5, "b": 5})
    os.mkfifo(root / "a" / "pipe.png")
    (root / "b" / "zero.png").symlink_to("/dev/zero")
    dataset = _load(root)
    assert len(dataset.images_NHWC) == 10
    assert dataset.notes == (f"folder:{root}: ignored: 2 pipes, sockets or devices",)


@pytest.mark.usefixtures("cache_dir")
def test_a_broken_link_is_named(tmp_path: Path) -> None:
    root = class_tree(tmp_path, {"a": 5, "b": 5})
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"a/gone\.png cannot be read \(No such file or directory\)"):
        _load(root)


@pytest.mark.usefixtures("cache_dir")
def test_folders_of_drives_and_editors_are_no_classes_and_all_that_is_ignored_is_counted(tmp_path: Path) -> None:
    root = class_tree(tmp_path, {"a": 5, "b": 5})
    plain = _load(root)
    for number, folder in enumerate(("@eaDir", "#recycle", ".thumbnails", "lost+found", "a/@eaDir", "$RECYCLE.BIN")):
        write_image(root / folder / "thumb.jpg", seed=100 + number)
    for name in ("a/notes.txt", "a/more.TXT", "b/raw.heic", "b/.DS_Store", "b/README"):
        (root / name).write_text("")
    write_image(root / "loose.png")
    dataset = _load(root)
    assert dataset.fingerprint == plain.fingerprint and dataset.class_names == ("a", "b")
    (note,) = dataset.notes
    counted = note.partition("ignored: ")[2].split(", ")
    expected = ["2 folder @eaDir", "1 folder #recycle", "1 folder .thumbnails", "1 folder lost+found"]
    expected += ["1 folder $RECYCLE.BIN", "2 .txt", "1 .heic", "1 hidden", "1 without a suffix"]
    expected += ["1 images beside the class folders"]
    assert sorted(counted) == sorted(expected)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".JP2", ".tga", ".ico", ".pcx", ".qoi", ".dib", ".mpo"])
@pytest.mark.usefixtures("cache_dir")
def test_whatever_pillow_opens_is_an_image(tmp_path: Path, suffix: str) -> None:
    dataset = _load(class_tree(tmp_path, {"a": 5, "b": 5}, suffix=suffix))
    assert len(dataset.images_NHWC) == 10 and dataset.num_skipped == 0 and dataset.notes == ()


@pytest.mark.usefixtures("cache_dir")
def test_a_class_name_that_steers_a_terminal_is_refused(tmp_path: Path) -> None:
    class_tree(tmp_path, {"a\x1b[31m": 5, "b": 5})
    with pytest.raises(DataError, match=r"^the name of class 'a\\\\x1b\[31m' has a character that steers a terminal"):
        _load(tmp_path)


@pytest.mark.usefixtures("cache_dir")
def test_a_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    plain = _load(class_tree(tmp_path / "plain", {"bar": 6, composed: 6}))
    moved = _load(class_tree(tmp_path / "moved", {"bar": 6, apart: 6}))
    assert moved.class_names == ("bar", composed) and moved.fingerprint == plain.fingerprint
    root = class_tree(tmp_path / "both", {"bar": 6, composed: 6})
    class_tree(root, {apart: 4}, first_seed=90)
    both = _load(root)
    assert both.class_names == ("bar", composed) and both.labels_N.tolist() == [0] * 6 + [1] * 10
    class_tree(tmp_path / "parts" / "train", {"bar": 6, composed: 6})
    class_tree(tmp_path / "parts" / "test", {"bar": 2, apart: 2}, first_seed=50)
    parts = _load(tmp_path / "parts")
    assert parts.class_names == ("bar", composed) and parts.labels_N[parts.test_I].tolist() == [0, 0, 1, 1]


@pytest.mark.usefixtures("cache_dir")
def test_images_that_are_the_same_in_two_parts_are_named(tmp_path: Path) -> None:
    class_tree(tmp_path / "train", {"a": 10, "b": 10})
    class_tree(tmp_path / "val", {"a": 3, "b": 3}, first_seed=50)
    class_tree(tmp_path / "test", {"a": 3, "b": 3}, first_seed=100)
    assert _load(tmp_path).notes == ()
    shutil.copy(tmp_path / "train" / "a" / "image_0001.jpg", tmp_path / "test" / "a" / "copy.jpg")
    shutil.copy(tmp_path / "train" / "a" / "image_0001.jpg", tmp_path / "train" / "a" / "copy.jpg")  # in one part
    (note,) = _load(tmp_path).notes
    assert (
        note.endswith(
            ": 1 images are byte for byte in more than one part: test/a/copy.jpg (test) = train/a/copy.jpg (train) = "
            "train/a/image_0001.jpg (train)"
        )
        or "train/a/copy.jpg (train) = train/a/image_0001.jpg (train) = test/a/copy.jpg (test)" in note
    )

"""Files of boxes: four formats say the same, and each mistake is one line with its place and cure."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import class_tree, write_image

from lstn_search.data import load_dataset
from lstn_search.data.annotations import read_annotations
from lstn_search.data.poses import Pose
from lstn_search.errors import DataError

Boxes = dict[str, tuple[int, int, int, int]]
WIDTH, HEIGHT = 40, 30


def _boxes() -> Boxes:
    """Of 30 cats and 30 dogs, whose files are called the same."""
    rng = np.random.RandomState(0)
    keys = [f"{name}/image_{number:04d}.jpg" for name in ("cat", "dog") for number in range(30)]
    corners = rng.randint((0, 0, 20, 15), (15, 10, WIDTH + 1, HEIGHT + 1), (len(keys), 4)).tolist()
    return {key: tuple(box) for key, box in zip(keys, corners, strict=True)}


def _table(delimiter: str, header: bool) -> Callable[[Path, Boxes], Path]:
    def write(folder: Path, boxes: Boxes) -> Path:
        rows = [("file", "x1", "y1", "x2", "y2")] * header + [(key, *map(str, box)) for key, box in boxes.items()]
        (folder / "boxes.txt").write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
        return folder / "boxes.txt"

    return write


def _gtsrb(folder: Path, boxes: Boxes) -> Path:
    for label, name in enumerate(("cat", "dog")):
        rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
        for key, box in boxes.items():
            if key.startswith(name):
                rows.append(";".join(map(str, (Path(key).name, WIDTH, HEIGHT, *box, label))))
        (folder / name).mkdir()
        (folder / name / f"GT-{label:05d}.csv").write_text("\r\n".join(rows))
    return folder


def _kaggle(folder: Path, boxes: Boxes) -> Path:
    rows = ["Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"]
    rows += [",".join(map(str, (WIDTH, HEIGHT, *box, 0, f"Train/{key}"))) for key, box in boxes.items()]
    (folder / "Train.csv").write_text("\ufeff" + "\n".join(rows))
    return folder / "Train.csv"


def _coco(folder: Path, boxes: Boxes) -> Path:
    images = [{"id": i, "file_name": key, "width": WIDTH, "height": HEIGHT} for i, key in enumerate(boxes)]
    annotations = [{"image_id": i, "bbox": [1, 1, 2, 2]} for i in range(len(boxes))]
    annotations += [{"image_id": i, "bbox": [x, y, r - x, b - y]} for i, (x, y, r, b) in enumerate(boxes.values())]
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder / "instances.json"


def _voc(folder: Path, boxes: Boxes) -> Path:
    for key, box in boxes.items():
        objects = "".join(
            "<object><name>a</name><bndbox>"
            + "".join(
                f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), at, strict=True)
            )
            + "</bndbox></object>"
            for at in ((1, 1, 3, 3), box)
        )
        path = (folder / key).with_suffix(".xml")
        path.parent.mkdir(exist_ok=True)
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{size}{objects}</annotation>")
    return folder


FORMATS = {
    "csv": _table(",", True),
    "semicolons": _table(";", True),
    "tabs": _table("\t", True),
    "no header": _table(",", False),
    "gtsrb": _gtsrb,
    "kaggle": _kaggle,
    "coco": _coco,
    "voc": _voc,
}


def test_the_same_boxes_in_every_format_are_the_same_poses(tmp_path: Path, cache_dir: Path) -> None:
    root, boxes = class_tree(tmp_path / "pets", {"cat": 30, "dog": 30}), _boxes()
    expected = torch.zeros(60, 2, 3)
    for row, (x1, y1, x2, y2) in enumerate(boxes.values()):
        expected[row, 0, 0], expected[row, 0, 2] = (x2 - x1) / WIDTH, (x1 + x2) / WIDTH - 1
        expected[row, 1, 1], expected[row, 1, 2] = (y2 - y1) / HEIGHT, (y1 + y2) / HEIGHT - 1
    fingerprints = set()
    for name, write in FORMATS.items():
        (folder := tmp_path / name).mkdir()
        dataset = load_dataset(f"folder:{root}", image_size=8, poses=str(write(folder, boxes)), progress=False)
        torch.testing.assert_close(dataset.pose_N23, expected, rtol=0, atol=1e-6, msg=name)
        fingerprints.add(dataset.poses_fingerprint)
    assert len(fingerprints) == 1


def test_a_table_may_turn_boxes_and_have_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text('class,degrees,y2,x2,y1,x1,file\nfox,-12.5,4,3,2,1,"a, b.jpg"\n\nfox,,8,7,6,5,sub\\c.jpg\n')
    turned, upright = read_annotations(path)
    assert (turned.name, turned.pose) == ("a, b.jpg", Pose(x1=1, y1=2, x2=3, y2=4, degrees=-12.5))
    assert (upright.name, upright.pose) == ("sub/c.jpg", Pose(x1=5, y1=6, x2=7, y2=8))
    assert upright.place == f"{path}:4"
    path.write_text("a.jpg\t1\t2\t3\t4\t90\n")
    assert read_annotations(path)[0].pose.degrees == 90


def test_a_size_of_zero_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file,x1,y1,x2,y2,width,height\na,1,2,3,4,0,0\nb,1,2,3,4,9,8\nc,1,2,3,4\n")
    assert [row.size for row in read_annotations(tmp_path)] == [None, (9, 8), None]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "X holds no box; give rows file,x1,y1,x2,y2, or COCO or Pascal VOC annotations"),
        ("file,x1,y1,x2,y2\n", "X holds no box; give rows"),
        ("name,left\na,1\n", "X:1: expected the columns file, x1, y1, x2, y2 (and degrees); got 'name left'"),
        ("a,1,2,3,four\n", "X:1: expected the columns"),
        ("file,x1,y1,x2,y2\na,1,2,3,4\nb,1,2,3,four\n", "X:3: y2 is 'four', not a number; write pixels"),
        ("file,x1,y1,x2,y2\na,1,2,nan,4\n", "X:2: x2 is 'nan', not a number"),
        ("file,x1,y1,x2,y2\na,1,2,3\n", "X:2: 4 columns where 5 are expected"),
        ("file,x1,y1,x2,y2\n,1,2,3,4\n", "X:2: the image has no file name"),
        ('file,x1,y1,x2,y2\n"' + "a" * 200_000 + '",1,2,3,4\n', "X:2: cannot be read as a table (field larger than"),
        ("{", "X is no JSON (Expecting property name"),
        ("[" * 200_000, "X is nested too deep; give COCO annotations"),
        ('{"info": {}}', "X has no lists 'images' and 'annotations'; give COCO annotations"),
        ('{"images": [7], "annotations": []}', "X: images[0] has no 'id'"),
        ('{"images": [], "annotations": [{"image_id": 7}]}', "X: annotations[0].image_id is '7', the id of no image"),
        ('{"images": [{"id": [7]}], "annotations": []}', "X: images[0].id is [7]; write a number"),
        ('{"images": [{"id": ' + "[" * 400 + "]" * 400 + '}], "annotations": []}', "X: images[0].id is [[[[[["),
        (
            '{"images": [{"id": 1e400}], "annotations": [{"image_id": 1}]}',
            "X: annotations[0].image_id is '1', the id of",
        ),
        ("[" * 100_000, "X is nested too deep"),
        ('{"images": ' + "9" * 5_000 + ', "annotations": []}', "X is no JSON (Exceeds the limit"),
        ("COCO [1, 2, 3]", "X: annotations[0].bbox is [1, 2, 3]; write [x, y, width, height]"),
        ('COCO [1, 2, 3, "four"]', "X: annotations[0]: a number of bbox is 'four', not a number"),
        ("COCO [1, 2, 3, 1e999]", "X: annotations[0]: a number of bbox is inf, not a number"),
        ("<annotation>", "X is no XML (no element found"),
        ("<html></html>", "X is a <html>; give Pascal VOC annotations"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "X declares a document type, which is not read; remove it"),
        ("<annotation>" + " " * 4_000_000, "X has 4,000,012 characters, over 4,000,000; give one XML file an image"),
        ("<annotation><object><bndbox/></object></annotation>", "X: xmin is None, not a number"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "boxes.csv"
    images = '{"images": [{"id": 7, "file_name": "a"}], "annotations": [{"image_id": 7, "bbox": '
    path.write_text(images + text.removeprefix("COCO ") + "}]}" if text.startswith("COCO") else text)
    with pytest.raises(DataError) as error:
        read_annotations(path)
    assert str(error.value).startswith(line.replace("X", str(path), 1)) and "\n" not in str(error.value)


def test_files_that_should_not_be_read_are_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere; give a file of boxes"):
        read_annotations(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no csv, tsv, json or xml file"):
        read_annotations(tmp_path)
    (tmp_path / "a.csv").write_bytes("file,x1,y1,x2,y2\nmüll.jpg,1,2,3,4\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv is not UTF-8 \(byte 18\); save it as UTF-8"):
        read_annotations(tmp_path)
    with (tmp_path / "a.csv").open("wb") as file:
        file.truncate(256_000_001)
    with pytest.raises(DataError, match=r"has 256,000,001 bytes, over 256,000,000; split it"):
        read_annotations(tmp_path)


def test_reading_boxes_needs_no_torch() -> None:
    code = "import sys, lstn_search.data.annotations; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_image_with_no_pose_in_the_file_has_none(tmp_path: Path, cache_dir: Path) -> None:
    root, boxes = class_tree(tmp_path / "pets", {"cat": 30, "dog": 30}), _boxes()
    write_image(root / "cat" / "late.jpg", seed=99)
    path = _table(",", True)(tmp_path, boxes)
    dataset = load_dataset(f"folder:{root}", image_size=8, poses=str(path), progress=False)
    assert dataset.posed_N.tolist() == [True] * 30 + [False] + [True] * 30
    assert bool(dataset.pose_N23[30].isnan().all()) and not bool(dataset.pose_N23[dataset.posed_N].isnan().any())


def test_a_name_is_found_in_either_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,x1,y1,x2,y2\ncafe\u0301/1.png,0,0,1,1\n", encoding="utf-8")
    assert [row.name for row in read_annotations(tmp_path)] == ["caf\u00e9/1.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match="holds no csv, tsv, json or xml file"):
        read_annotations(tmp_path)
    with pytest.raises(DataError, match=r"a\.csv is no file but a folder, pipe or device"):
        read_annotations(tmp_path / "a.csv")
    with pytest.raises(DataError, match="there is no file or folder"):
        read_annotations(tmp_path / ("x" * 300))

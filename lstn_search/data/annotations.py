"""Reading boxes from files: tables, COCO and Pascal VOC, told apart by what is in the file.

- A table, a row an image, columns parted by commas, semicolons or tabs: `file,x1,y1,x2,y2` and, where there are any,
  `degrees` and the image's `width,height`; also without the first row that names them. GTSRB's tables are of this kind
  (`Filename;Width;Height;Roi.X1;...`, a file a class; Kaggle's `Train.csv` with `Path`), so are those with xmin, ymin.
- COCO: JSON with `images` and `annotations[].bbox` = [x, y, width, height]; of several boxes in an image the largest.
- Pascal VOC: an XML an image, `object/bndbox`; the largest.

Numbers are taken as they are in every format: none is shifted by the pixel that some count from. A file is only read,
never obeyed: no entity of an XML is resolved, and sizes are bounded.
"""

import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstn_search.data.decoding import read_file
from lstn_search.data.poses import Annotation, Pose, Size
from lstn_search.data.walk import Tree, is_folder, is_there, nfc
from lstn_search.errors import DataError

__all__ = ["read_annotations"]

MAX_BYTES = 256_000_000
MAX_XML_BYTES = 4_000_000

_SUFFIXES = frozenset({".csv", ".json", ".tsv", ".xml"})
_COLUMNS = {
    "file": ("file", "path", "filename"),
    "x1": ("x1", "xmin", "roi.x1"),
    "y1": ("y1", "ymin", "roi.y1"),
    "x2": ("x2", "xmax", "roi.x2"),
    "y2": ("y2", "ymax", "roi.y2"),
    "degrees": ("degrees",),
    "width": ("width",),
    "height": ("height",),
    "label": ("classid",),
}
_NEEDED = ("file", "x1", "y1", "x2", "y2")


def read_annotations(path: Path) -> list[Annotation]:
    """The boxes in a file, or in all files (csv, tsv, json, xml) below a folder. Raises DataError, naming the place."""
    if is_folder(path):
        paths = [path / file for file in Tree(path, suffixes=_SUFFIXES).files()]
        if not paths:
            raise DataError(f"{path} holds no csv, tsv, json or xml file; give a file of boxes, or a folder of them")
    elif is_there(path):
        paths = [path]
    else:
        raise DataError(f"there is no file or folder {path}; give a file of boxes, or a folder of them")
    rows = [row for file in paths for row in _read(file)]
    if not rows:
        raise DataError(f"{path} holds no box; give rows file,x1,y1,x2,y2, or COCO or Pascal VOC annotations")
    return rows


def _read(path: Path) -> Iterator[Annotation]:
    text = _text(path)
    start = text[:1000].lstrip()[:1]
    return (_coco if start in ("{", "[") else _voc if start == "<" else _table)(path, text) if start else iter(())


def _text(path: Path) -> str:
    try:
        return read_file(path, MAX_BYTES, smaller="split it into files in one folder").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start:,}); save it as UTF-8") from None


def _annotation(
    path: Path, place: str, name: object, pose: Pose, size: tuple[object, object], label: str = ""
) -> Annotation:
    parts = name.strip().replace("\\", "/").split("/") if isinstance(name, str) else []
    clean = nfc("/".join(part for part in parts if part not in ("", ".")))
    if not clean:
        raise DataError(f"{place}: the image has no file name; write its path below the dataset's folder")
    folder = nfc(path.absolute().parent.name)
    return Annotation(place=place, name=clean, folder=folder, pose=pose, size=_size(size, place), label=label)


def _size(size: tuple[object, object], place: str) -> Size | None:
    """None where a file leaves the size out or writes 0."""
    width, height = (_number(value or 0, what, place) for value, what in zip(size, ("width", "height"), strict=True))
    return (width, height) if width > 0 and height > 0 else None


def _number(value: object, what: str, place: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place}: {what} is {_short(value)}, not a number; write pixels")
    return number


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; a number with more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- tables --------------------------------------------------------------------------------------------------------


def _table(path: Path, text: str) -> Iterator[Annotation]:
    first = next(line for line in text.splitlines() if line.strip())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    columns: dict[str, int] = {}
    try:
        for fields in reader:
            place = f"{path}:{reader.line_num}"
            if not any(field.strip() for field in fields):
                continue
            if not columns:
                columns = _header([field.strip().lower() for field in fields])
                if columns:
                    continue
                columns = _without_header(fields, place)
            if len(fields) <= max(columns[name] for name in _NEEDED):
                raise DataError(f"{place}: {len(fields)} columns where {max(columns.values()) + 1} are expected")
            cells = {name: fields[at].strip() for name, at in columns.items() if at < len(fields)}
            corners = {name: _number(cells[name], name, place) for name in _NEEDED[1:]}
            pose = Pose(**corners, degrees=_number(cells.get("degrees") or 0, "degrees", place))
            size = cells.get("width"), cells.get("height")
            yield _annotation(path, place, cells["file"], pose, size, cells.get("label", ""))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: cannot be read as a table ({error}); correct the line") from None


def _header(names: list[str]) -> dict[str, int]:
    """Column -> where it is; empty when this row does not name them all."""
    where = {
        column: next(names.index(alias) for alias in aliases if alias in names)
        for column, aliases in _COLUMNS.items()
        if any(alias in names for alias in aliases)
    }
    return where if all(column in where for column in _NEEDED) else {}


def _without_header(fields: list[str], place: str) -> dict[str, int]:
    try:
        if not 5 <= len(fields) <= 6:
            raise ValueError
        for field in fields[1:]:
            float(field)
    except ValueError:
        expected = "expected the columns file, x1, y1, x2, y2 (and degrees)"
        raise DataError(f"{place}: {expected}; got {_short(' '.join(fields))}") from None
    return dict(zip((*_NEEDED, "degrees"), range(len(fields)), strict=False))


# -- COCO ----------------------------------------------------------------------------------------------------------


def _coco(path: Path, text: str) -> Iterator[Annotation]:
    try:
        root: Any = json.loads(text)
    except RecursionError:
        raise DataError(f"{path} is nested too deep; give COCO annotations") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); write it again") from None
    if not isinstance(root, dict) or not all(isinstance(root.get(key), list) for key in ("images", "annotations")):
        raise DataError(f"{path} has no lists 'images' and 'annotations'; give COCO annotations")
    images = {_id(path, image, f"images[{i}]", "id"): image for i, image in enumerate(root["images"])}
    largest: dict[str, tuple[str, Pose]] = {}
    for i, annotation in enumerate(root["annotations"]):
        place = f"annotations[{i}]"
        of = _id(path, annotation, place, "image_id")
        if of not in images:
            raise DataError(f"{path}: {place}.image_id is {_short(of)}, the id of no image; correct or remove it")
        box = _field(path, annotation, place, "bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{path}: {place}.bbox is {_short(box)}; write [x, y, width, height]")
        x, y, across, down = (_number(number, "a number of bbox", f"{path}: {place}") for number in box)
        pose = Pose(x1=x, y1=y, x2=x + across, y2=y + down)
        if of not in largest or pose.area > largest[of][1].area:
            largest[of] = (f"{path}: {place}", pose)
    for of, (place, pose) in largest.items():
        image = images[of]
        yield _annotation(path, place, image.get("file_name"), pose, (image.get("width"), image.get("height")))


def _id(path: Path, item: Any, place: str, name: str) -> str:
    """As text, as it may be written as a number or as text."""
    value = _field(path, item, place, name)
    if not isinstance(value, str | int | float):
        raise DataError(f"{path}: {place}.{name} is {_short(value)}; write a number")
    return str(value) if isinstance(value, str) or abs(value) < 1e30 else _short(value)


def _field(path: Path, item: Any, place: str, name: str) -> Any:
    if not isinstance(item, dict) or name not in item:
        raise DataError(f"{path}: {place} has no {name!r}; give COCO annotations")
    return item[name]


# -- Pascal VOC ----------------------------------------------------------------------------------------------------


def _voc(path: Path, text: str) -> Iterator[Annotation]:
    if len(text) > MAX_XML_BYTES:
        raise DataError(f"{path} has {len(text):,} characters, over {MAX_XML_BYTES:,}; give one XML file an image")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path} declares a document type, which is not read; remove it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is no XML ({error}); write it again") from None
    if root.tag != "annotation":
        raise DataError(f"{path} is a <{root.tag[:60]}>; give Pascal VOC annotations, an <annotation> an image")
    poses = [
        Pose(**{to: _number(box.findtext(tag), tag, str(path)) for to, tag in _VOC_CORNERS})
        for box in root.iterfind("object/bndbox")
    ]
    if poses:
        size = (root.findtext("size/width"), root.findtext("size/height"))
        yield _annotation(path, str(path), root.findtext("filename"), max(poses, key=lambda pose: pose.area), size)


_VOC_CORNERS = (("x1", "xmin"), ("y1", "ymin"), ("x2", "xmax"), ("y2", "ymax"))

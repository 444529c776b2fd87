"""The door for files: what it lets through is what `json` reads, and whatever else comes is one short line."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lstn_search.spec.reading import MAX_NUMBER, check_plain, parse_json, read_as, read_json, read_text, short


@pytest.mark.parametrize(
    "data", [{"a": [1, 2.5, None, True, "é\n"], "b": {}}, [], "x", 0, -MAX_NUMBER, 1e300, [[[[[1]]]]]]
)
def test_plain_values_come_back_as_json_has_them(data: Any, tmp_path: Path) -> None:
    text = json.dumps(data)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text) == data
    (tmp_path / "x.json").write_text(text)
    assert read_json(tmp_path / "x.json") == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "EOF"),
        ("{", "EOF"),
        ("NaN", "expected value"),
        ("[Infinity]", "expected value"),
        ("[1e999]", "inf is no number to count with"),
        ("9" * 400, "a number of 400 digits"),
        ("[" + "9" * 5000 + "]", "out of range"),
        (f"[{MAX_NUMBER + 1}]", "a number of 19 digits"),
        ("[" * 100_000, "recursion limit"),
        ('{"a":' * 100_000, "recursion limit"),
        ("[" * 100 + "]" * 100, "nested too deep"),
    ],
    ids=lambda text: text[:12],
)
def test_what_nothing_counts_with_is_refused_in_a_short_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 100 and "\n" not in str(caught.value)


def test_nesting_is_counted_without_recursion() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deep"):
        check_plain(deep)
    assert short(deep) == "a list"


def test_a_file_that_is_none_too_large_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"^not text$"):
        read_text(tmp_path / "x")
    with pytest.raises(ValueError, match=r"^larger than 0 bytes$"):
        read_text(tmp_path / "x", max_bytes=0)
    (tmp_path / "endless").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("endless", "pipe", "."):
        with pytest.raises(ValueError, match=r"^no regular file$"):
            read_text(tmp_path / name)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Inner:
    number: int
    words: tuple[str, ...] = ()


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Outer:
    inner: Inner
    share: float | None = None


def test_a_dataclass_is_made_of_its_plain_values_and_unknown_names_are_left_out() -> None:
    outer = Outer(inner=Inner(number=3, words=("a",)), share=0.5)
    assert read_as(Outer, json.loads(json.dumps(dataclasses.asdict(outer))) | {"new": 1}) == outer


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "input should be .+, got \\[\\]"),
        ({}, "inner: field required, got {}"),
        ({"inner": {"number": "x"}}, "inner.number: input should be a valid integer.*, got 'x'"),
        ({"inner": {"number": 1, "words": ["a", 2]}}, "inner.words.1: input should be a valid string, got 2"),
        ({"inner": {"number": 1}, "share": "x" * 1000}, "share: input should be a valid number.*, got 'x{79}…"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        read_as(Outer, data)
    assert len(str(caught.value)) < 250

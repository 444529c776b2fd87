"""Results in the cache: made once, by one process, and again when the file is damaged."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lstn_search.errors import DataError
from lstn_search.training.memo import remembered

KEY = "0123456789abcdef" * 4


class Maker:
    """Counts how often it has to work."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.count = 0
        self.seconds = seconds

    def __call__(self) -> tuple[int, float]:
        self.count += 1
        time.sleep(self.seconds)
        return self.count, 1 / 3


def recall(folder: Path, make: Maker, key: str = KEY) -> tuple[int, float]:
    def read(data: dict[str, Any]) -> tuple[int, float]:
        return data["count"], data["third"]

    return remembered(folder, key, make, write=lambda pair: {"count": pair[0], "third": pair[1]}, read=read)


def test_a_result_is_made_once_for_a_key(tmp_path: Path) -> None:
    make = Maker()
    folder = tmp_path / "not" / "there"
    assert [recall(folder, make) for _ in range(3)] == [(1, 1 / 3)] * 3
    assert recall(folder, make, key="f" * 64) == (2, 1 / 3)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'{"count": 1}', b"[" * 100_000, b"9" * 400]
)
def test_a_damaged_file_is_made_again_with_a_warning(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = Maker()
    recall(tmp_path, make)
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert recall(tmp_path, make) == (2, 1 / 3)
    assert f"{file.name} cannot be read" in caplog.text
    assert recall(tmp_path, make) == (2, 1 / 3)


def test_two_at_a_time_make_it_once(tmp_path: Path) -> None:
    make = Maker(seconds=0.2)
    threads = [threading.Thread(target=recall, args=(tmp_path, make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.count == 1


def test_what_fails_is_not_remembered_and_blocks_nobody(tmp_path: Path) -> None:
    def interrupted() -> tuple[int, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recall(tmp_path, interrupted)  # type: ignore[arg-type]
    assert recall(tmp_path, Maker()) == (1, 1 / 3)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    make = Maker()
    with pytest.raises(DataError, match=r"cannot write to the cache folder .+file/sub \(.+\); .+--cache-dir"):
        recall(tmp_path / "file" / "sub", make)
    assert make.count == 0

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device\); make room"):
        recall(tmp_path, make)


def test_an_error_of_the_maker_is_its_own(tmp_path: Path) -> None:
    def broken() -> tuple[int, float]:
        raise FileNotFoundError("an image")

    with pytest.raises(FileNotFoundError, match="an image"):
        recall(tmp_path, broken)  # type: ignore[arg-type]

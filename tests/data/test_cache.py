"""The cache: decoded once, never half written, clear about a disk it cannot write to."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lstn_search.data.cache import Entry, cached_images, default_cache_dir, write_cached
from lstn_search.errors import DataError

Pixels = npt.NDArray[np.uint8]


def _rows(num_images: int = 6, image_size: int = 8) -> list[Pixels]:
    return list(np.random.RandomState(0).randint(0, 256, (num_images, image_size, image_size, 3), dtype=np.uint8))


class _Decoder:
    """Yields its rows and counts how often it was asked."""

    def __init__(self, rows: list[Pixels | str]) -> None:
        self.rows, self.num_calls = rows, 0

    def __call__(self) -> Iterator[Pixels | str]:
        self.num_calls += 1
        yield from self.rows


def _load(decode: _Decoder, cache_dir: Path, *, content: str = "a", image_size: int = 8) -> Entry:
    return cached_images(
        content,
        name="set",
        num_images=len(decode.rows),
        image_size=image_size,
        decode=decode,
        cache_dir=cache_dir,
    )


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_images_come_back_as_they_went_in_and_are_decoded_once(cache_dir: Path) -> None:
    decode = _Decoder([*_rows()])
    first, second = _load(decode, cache_dir), _load(decode, cache_dir)
    assert decode.num_calls == 1
    np.testing.assert_array_equal(first.images_NHWC, np.stack(_rows()))
    np.testing.assert_array_equal(second.images_NHWC, np.stack(_rows()))
    assert isinstance(second.images_NHWC, np.memmap)


def test_other_content_or_size_is_another_entry(cache_dir: Path) -> None:
    decode, larger = _Decoder([*_rows()]), _Decoder([*_rows(image_size=16)])
    _load(decode, cache_dir)
    _load(decode, cache_dir, content="b")
    assert decode.num_calls == 2
    assert _load(larger, cache_dir, image_size=16).images_NHWC.shape == (6, 16, 16, 3)


def test_damaged_files_have_no_row_but_are_remembered(cache_dir: Path) -> None:
    rows: list[Pixels | str] = [*_rows()]
    rows[2] = "truncated"
    for _ in range(2):  # decoded, then read back
        entry = _load(_Decoder(rows), cache_dir)
        assert entry.damaged == {2: "truncated"}
        np.testing.assert_array_equal(entry.images_NHWC, np.stack([*_rows()[:2], *_rows()[3:]]))


def test_writing_to_the_array_does_not_reach_the_file(cache_dir: Path) -> None:
    decode = _Decoder([*_rows()])
    _load(decode, cache_dir).images_NHWC[:] = 0
    np.testing.assert_array_equal(_load(decode, cache_dir).images_NHWC, np.stack(_rows()))


def test_an_interrupted_decoding_leaves_nothing_behind(cache_dir: Path) -> None:
    def interrupted() -> Iterator[Pixels]:
        yield _rows()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_images("a", name="set", num_images=6, image_size=8, decode=interrupted, cache_dir=cache_dir)
    assert _files(cache_dir) == []


@pytest.mark.parametrize("broken", ["images.npy", "meta.json"])
def test_a_broken_entry_is_made_again(cache_dir: Path, broken: str) -> None:
    decode = _Decoder([*_rows()])
    _load(decode, cache_dir)
    file = next(cache_dir.rglob(broken))
    file.write_bytes(file.read_bytes()[:-10])
    np.testing.assert_array_equal(_load(decode, cache_dir).images_NHWC, np.stack(_rows()))
    assert decode.num_calls == 2


@pytest.mark.parametrize(
    "meta",
    [
        *("null", "[]", "{}", "7", '{"num_images": 6, "damaged": []}', '{"num_images": 6, "damaged": {"x": "y"}}'),
        *('{"num_images": 5, "damaged": {"9": "y"}}', '{"num_images": 5, "damaged": {}}', "[" * 100_000),
        '{"num_images": 5, "damaged": {"2": "of a decoder that could not read it"}}',
    ],
)
def test_an_entry_that_says_something_else_is_made_again(cache_dir: Path, meta: str) -> None:
    decode = _Decoder([*_rows()])
    _load(decode, cache_dir)
    next(cache_dir.rglob("meta.json")).write_text(meta)
    np.testing.assert_array_equal(_load(decode, cache_dir).images_NHWC, np.stack(_rows()))
    assert decode.num_calls == 2


@pytest.mark.parametrize(
    "array", [np.zeros((6, 8, 8, 3)), np.zeros((6, 9, 8, 3), np.uint8), np.array([{}] * 6), np.zeros(6, "u1,u1")]
)
def test_an_array_of_another_kind_is_made_again(cache_dir: Path, array: npt.NDArray[Any]) -> None:
    decode = _Decoder([*_rows()])
    _load(decode, cache_dir)
    np.save(next(cache_dir.rglob("images.npy")), array, allow_pickle=True)
    np.testing.assert_array_equal(_load(decode, cache_dir).images_NHWC, np.stack(_rows()))


def test_two_processes_decode_once(cache_dir: Path) -> None:
    code = """
        import sys, time, numpy as np
        from pathlib import Path
        from lstn_search.data.cache import cached_images
        def decode():
            print("decoding", flush=True)
            for number in range(5):
                time.sleep(0.1)
                yield np.full((8, 8, 3), number, np.uint8)
        entry = cached_images("a", name="set", num_images=5, image_size=8, decode=decode, cache_dir=Path(sys.argv[1]))
        assert entry.images_NHWC[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(cache_dir)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    output = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(output).count("decoding") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE on Windows")
def test_a_disk_that_fills_up_while_writing_is_one_line_and_leaves_nothing(cache_dir: Path) -> None:
    code = """
        import resource, sys, numpy as np
        from pathlib import Path
        from lstn_search.data.cache import cached_images
        from lstn_search.errors import DataError
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        rows = [np.zeros((64, 64, 3), np.uint8)] * 100
        try:
            cached_images("a", name="set", num_images=100, image_size=64, decode=lambda: iter(rows),
                          cache_dir=Path(sys.argv[1]))
        except DataError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(cache_dir)]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert line.startswith(f"disk full: the cache in {cache_dir} needs 1,228,800 bytes (1.2 MB)")
    assert "--cache-dir or LSTN_CACHE_DIR" in line and line.count("\n") == 1
    assert _files(cache_dir) == []


def test_a_disk_that_is_too_small_is_noticed_before_decoding(cache_dir: Path) -> None:
    decode = _Decoder(["never decoded"] * 1000)
    with pytest.raises(DataError, match=r"^disk full: .* needs 30,000,000,000,000 bytes"):
        _load(decode, cache_dir, image_size=100_000)
    assert decode.num_calls == 0 and _files(cache_dir) == []


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write to the cache folder .*file.* --cache-dir or LSTN_CACHE_DIR$"):
        _load(_Decoder([*_rows()]), tmp_path / "file" / "cache")
    with pytest.raises(DataError, match="cannot write to the cache folder"):
        write_cached(tmp_path / "file" / "memo", b"x", cache_dir=tmp_path / "file")


def test_the_default_folder_is_the_environments_or_the_users(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache_dir() == cache_dir
    monkeypatch.delenv("LSTN_CACHE_DIR")
    assert default_cache_dir().name == "lstn-search"

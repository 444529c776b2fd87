"""Arrays out of pickles, and what else is in some."""

import pickle
import pickletools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lstn_search.data.pickles import read_pickle


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        np.array([], np.int64),
        np.array([[True], [False]]),
    ],
)
def test_arrays_come_back_as_they_went_in(array: np.ndarray[Any, Any], protocol: int) -> None:
    back = read_pickle(pickle.dumps({"data": array, "labels": [1, 2, 3]}, protocol))
    np.testing.assert_array_equal(back["data"], array)
    assert back["data"].dtype == array.dtype and back["labels"] == [1, 2, 3]


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_come_back_as_they_went_in(protocol: int) -> None:
    shared = ["a", "b"]
    value = {"names": shared, "again": shared, "numbers": [0, -1, 300, 70_000, 2**40, 2.5, None, True, False],
             "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], "text": "\u00e9", "many": [7] * 999}  # fmt: skip
    assert read_pickle(pickle.dumps(value, protocol)) == value


def test_a_batch_of_python_2() -> None:
    """As the official archive holds them: byte strings, old names."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    kind = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    state = b"(I1\n(I2\nI3\nt" + kind + b"I00\nU\x06" + bytes([0, 1, 2, 200, 254, 255]) + b"tb"
    table = read_pickle(b"\x80\x02}(S'data'\n" + array + state + b"S'labels'\n]I6\nau.")
    assert table["data"].tolist() == [[0, 1, 2], [200, 254, 255]] and table["labels"] == [6]


class Made:
    """What unpickles by calling something."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.made = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.made


def _array(dtype: Any, shape: Any, content: Any) -> Made:
    function, args, _ = np.zeros(1).__reduce__()
    return Made(function, *args, state=(1, shape, dtype, False, content))


UNSAFE = {
    "code": Made(eval, "1 + 1"),
    "an object array from bytes": Made(np.ndarray, (1,), np.dtype("O"), b"A" * 8),
    "an object array by its state": _array(np.dtype("O"), (1,), [b"x"]),
    "pointers as content": _array(np.dtype("O"), (1,), b"A" * 8),
    "too few bytes": _array(np.dtype("u1"), (1000,), b"A" * 8),
    "too many": _array(np.dtype("u1"), (2,), b"A" * 8),
    "a negative side": _array(np.dtype("u1"), (-8,), b"A" * 8),
    "a side of many digits": _array(np.dtype("u1"), (10**400,), b"A" * 8),
    "records": _array(np.dtype([("a", "O")]), (1,), b"A" * 8),
    "text": _array(np.dtype("U2"), (1,), b"A" * 8),
    "no bytes": _array(np.dtype("u1"), (2,), (1, 2)),
    "a function that only ends alike": Made(sys.intern),
    "another codec": Made(__import__("codecs").encode, "00", "hex"),
    "an array of a subclass": Made(np.matrix, [[1]]),
    "a set": {1, 2},
    "keys that are hashed for ever": {(((1,),),): 2},
}


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused(name: str, protocol: int) -> None:
    for value in (UNSAFE[name], {"labels": UNSAFE[name]}):
        with pytest.raises(ValueError, match=r"^[^\n]{3,200}$"):
            read_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize("module", ["evil.multiarray", "numpy.core.multiarray.evil", "xnumpy"])
def test_names_are_compared_in_full(module: str) -> None:
    with pytest.raises(ValueError, match=f"{module}._reconstruct is no part of one"):
        read_pickle(f"c{module}\n_reconstruct\n.".encode())


def test_damage_of_any_kind_is_one_line() -> None:
    content = pickle.dumps({"data": np.arange(30, dtype=np.uint8), "labels": [1, 2]}, 2)
    rng = np.random.default_rng(0)
    for number in range(2000):
        broken = bytearray(content)
        for _ in range(1 + number % 3):
            broken[rng.integers(len(broken))] = rng.integers(256)
        try:
            read_pickle(bytes(broken[: rng.integers(1, len(broken) + 1)] if number % 2 else broken))
        except ValueError as error:
            assert "\n" not in str(error)


def test_no_content_kills_the_process() -> None:
    """A huge slot of the memo, a string that says it is larger than the file, lists nested without an end."""
    code = r"""
import struct
from lstn_search.data.pickles import read_pickle
for content in (
    b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"0",
    b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    b"\x80\x02" + b"]" * 100_000 + b"a" * 99_998 + b".",
    b"\x80\x02" + b"(" * 100_000 + b"t" * 100_001 + b".",
    b"I" + b"9" * 100_000 + b"\n.",
):
    try:
        read_pickle(content)
    except ValueError as error:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("refused") >= 4  # a nest that ends well is one


def test_what_is_read_is_what_the_library_reads() -> None:
    """Its instructions are those that a batch is made of."""
    content = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], "filenames": ["a", "b"]}, 2)
    assert {"REDUCE", "BUILD", "GLOBAL"} < {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert read_pickle(content)["filenames"] == pickle.loads(content)["filenames"]

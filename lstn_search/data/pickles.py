"""Lists, strings and arrays of numbers out of a pickle, without unpickling: nothing in the file is ever called.

A pickle is a program. What follows runs a dozen of its instructions by itself, on plain values; what it takes for a
function of numpy is only a name, compared in full. An array is its bytes, if there are as many as its shape and type
want, and its type is one of whole or floating numbers: no object, and so no pointer, can be chosen by a file.
"""

import math
import pickletools
from typing import Any, cast

import numpy as np

__all__ = ["read_pickle"]

_ARRAYS = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")})
_BYTES = frozenset({("__builtin__", "bytes"), ("builtins", "bytes")})
_KNOWN = _ARRAYS | _BYTES | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_TYPES = frozenset({*(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f4", "f8", "b1"})
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Name(tuple[str, str]):
    """Module and name, of something that is not looked up."""

    __slots__ = ()


class _Type:
    """A numpy dtype that the file describes."""

    def __init__(self, args: Any) -> None:
        if not (isinstance(args, tuple) and args and isinstance(args[0], str) and args[0] in _TYPES):
            raise ValueError("an array of it is not of plain numbers")
        self.dtype = np.dtype(args[0])

    def build(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise ValueError("an array of it is not of plain numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A numpy array that the file describes."""

    value: Any = None

    def build(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Type)):
            raise ValueError("an array of it is incomplete")
        _, shape, of, is_fortran, content = state
        dtype = of.dtype
        if isinstance(content, str):  # as Python 2 wrote bytes
            content = content.encode("latin-1")
        is_shape = (
            isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape) and len(shape) < 9
        )
        if not (is_shape and isinstance(content, bytes) and len(content) == math.prod(shape) * dtype.itemsize):
            raise ValueError("an array of it has not as many bytes as its shape wants")
        self.value = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def read_pickle(content: bytes) -> Any:
    """The value in a pickle of lists, tuples, dicts by string, strings, bytes, numbers and arrays of numbers.

    Raises ValueError, in a few words, on any other.
    """
    try:
        return _read(content)
    except ValueError as error:
        raise ValueError(next(iter(str(error).splitlines()), "damaged")) from None
    except Exception as error:  # a damaged pickle can raise anything: a stack that is empty, a value of another type
        raise ValueError(f"damaged: {type(error).__name__}") from None


def _read(content: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = next(i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK)
        values = stack[at + 1 :]
        del stack[at:]
        return values

    def fill(table: Any, values: list[Any]) -> None:
        if not isinstance(table, dict) or not all(isinstance(key, str | bytes) for key in values[::2]):
            raise ValueError("a table of it has keys that are no strings")
        table.update(zip(values[::2], values[1::2], strict=True))

    for opcode, of_it, _ in pickletools.genops(content):
        name, arg = opcode.name, cast("Any", of_it)
        if name in _VALUES:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            size = _TUPLES[name]
            values = stack[len(stack) - size :]
            del stack[len(stack) - size :]
            stack.append(tuple(values))
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(arg)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("LIST", "TUPLE"):
            values = since_mark()
            stack.append(values if name == "LIST" else tuple(values))
        elif name == "DICT":
            values = since_mark()
            stack.append({})
            fill(stack[-1], values)
        elif name in ("APPEND", "APPENDS"):
            values = since_mark() if name == "APPENDS" else [stack.pop()]
            list.extend(stack[-1], values)
        elif name in ("SETITEM", "SETITEMS"):
            values = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            fill(stack[-1], values)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, function = arg.split(" ", 1) if name == "GLOBAL" else (stack.pop(-2), stack.pop())
            if (module, function) not in _KNOWN:
                raise ValueError(f"{str(module)[:60]}.{str(function)[:60]} is no part of one")
            stack.append(_Name((module, function)))
        elif name == "REDUCE":
            args = stack.pop()
            stack.append(_made(stack.pop(), args))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Array | _Type):
                raise ValueError("it sets what cannot be set")
            stack[-1].build(state)
        elif name == "STOP":
            return _plain(stack.pop())
        else:
            raise ValueError(f"instruction {name} is no part of one")
    raise ValueError("cut short")


def _made(function: Any, args: Any) -> Any:
    if isinstance(function, _Name) and function in _ARRAYS:
        return _Array()
    if function == ("numpy", "dtype"):
        return _Type(args)
    if function == ("_codecs", "encode") and args[1:] in (("latin1",), ("latin-1",)):
        return args[0].encode("latin-1")
    if function in _BYTES and args == ():
        return b""
    raise ValueError("it calls what cannot be called")


def _plain(value: Any) -> Any:
    """The arrays themselves in place of what describes them, for the value or those of a table."""
    if isinstance(value, dict):
        return {key: of_key.value if isinstance(of_key, _Array) else of_key for key, of_key in value.items()}
    return value.value if isinstance(value, _Array) else value

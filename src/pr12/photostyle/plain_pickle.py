"""The pickle of a state dict, read without running it.

Unpickling calls whatever the file names. Here `pickletools.genops`, which calls nothing, gives the
opcodes, and a small stack machine follows those that a state dict of plain tensors is made of.
Where a pickle calls a function, one of six known names stands for a record of our own; any other
name is refused before anything is done with it.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from pr12.photostyle.stored_tensors import DTYPES, Storage, StoredTensor

SHOWN = 80  # characters of a text from the file that a message repeats


class RefusedError(Exception):
    """What a pickle wants that plain weights do not need."""


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names."""

    name: str


def show(text: str) -> str:
    r"""Make a text from a file fit for a message: short, and without control characters.

    Examples
    --------
    >>> print(show("a" + chr(7)))
    a\x07
    """
    return ascii(text[:SHOWN])[1:-1]


def walk(stream: BinaryIO) -> Any:
    """Follow one pickle and give what it describes; the stream then stands behind it.

    Parameters
    ----------
    stream : binary file
        At the beginning of a pickle of protocol 2 to 4. All of the stream may be taken into memory.

    Returns
    -------
    str, int, float, bool, None, tuple, list, dict, Storage or StoredTensor
        Ordered dicts are dicts, parameters are tensors; attributes of either are left out.

    Raises
    ------
    RefusedError
        If it names another function or class, or uses an opcode that plain weights do not need.
    ValueError
        If it is no whole and well-formed pickle.

    Examples
    --------
    >>> import io, pickle
    >>> walk(io.BytesIO(pickle.dumps({"a": (1, [2.5])}, protocol=2)))
    {'a': (1, [2.5])}
    >>> walk(io.BytesIO(pickle.dumps(print, protocol=2)))
    Traceback (most recent call last):
    ...
    pr12.photostyle.plain_pickle.RefusedError: wants to call __builtin__.print
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return stack.pop()
            _follow(opcode.name, argument, stack, memo)
    except IndexError:
        raise ValueError("its pickle takes more than there is") from None
    raise ValueError("its pickle does not end")


def _follow(opcode: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """Do what one opcode does to the stack; names as in `pickletools.opcodes`."""
    match opcode:
        case "PROTO" | "FRAME":
            pass
        case "MARK":
            stack.append(_MARK)
        case _ if opcode in _VALUES:
            stack.append(argument)
        case "NONE" | "NEWTRUE" | "NEWFALSE":
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
        case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
            stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode])
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            items = [stack.pop() for _ in range(int(opcode[-1]))]
            stack.append(tuple(reversed(items)))
        case "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        case "APPEND" | "APPENDS":
            items = [stack.pop()] if opcode == "APPEND" else _pop_to_mark(stack)
            _need(type(stack[-1]) is list, "a list")
            stack[-1].extend(items)
        case "SETITEM" | "SETITEMS":
            items = (
                _pop_to_mark(stack) if opcode == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            )
            _need(len(items) % 2 == 0, "pairs")
            _set_items(stack[-1], list(zip(items[::2], items[1::2], strict=True)))
        case "BINPUT" | "LONG_BINPUT":
            memo[argument] = stack[-1]
        case "MEMOIZE":
            memo[len(memo)] = stack[-1]
        case "BINGET" | "LONG_BINGET":
            _need(argument in memo, "something that was there before")
            stack.append(memo[argument])
        case "GLOBAL":
            stack.append(_named(argument.replace(" ", ".", 1)))
        case "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            _need(type(name) is str and type(module) is str, "a name")
            stack.append(_named(f"{module}.{name}"))
        case "REDUCE" | "NEWOBJ":
            arguments, function = stack.pop(), stack.pop()
            _need(type(function) is Named and type(arguments) is tuple, "a call")
            stack.append(_call(function.name, arguments))
        case "BUILD":  # attributes: versions of modules, or whether gradients are wanted
            _need(type(stack.pop()) in (dict, tuple), "attributes")
            _need(type(stack[-1]) in (dict, StoredTensor), "a dict or a tensor")
        case "BINPERSID":
            stack.append(_storage(stack.pop()))
        case _:
            raise RefusedError(f"has a pickle with the opcode {opcode}")


_MARK = object()
_WHOLE = {"BININT", "BININT1", "BININT2", "LONG1"}
_TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"}
_VALUES = _WHOLE | _TEXTS | {"BINFLOAT"}


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"its pickle lacks {what}")


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while at >= 0 and stack[at] is not _MARK:
        at -= 1
    _need(at >= 0, "a mark")
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _set_items(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    _need(type(target) is dict, "a dict")
    for key, value in pairs:
        # the hash of a deep tuple could take for ever
        _need(type(key) in (str, int), "a text as key")
        target[key] = value


def _named(name: str) -> Named:
    module, _, kind = name.rpartition(".")
    if name in _CALLS or (module in ("torch", "torch.cuda") and kind in DTYPES):
        return Named(name)
    if module in ("torch", "torch.cuda") and kind.endswith("Storage"):
        raise RefusedError(f"has numbers of the type {show(name)}")
    raise RefusedError(f"wants to call {show(name)}")


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    if name not in _CALLS:
        raise RefusedError(f"wants to call {show(name)}")
    return _CALLS[name](arguments)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[str, Any]:
    pairs = arguments[0] if arguments else []  # Python 2 gave a list of pairs
    _need(type(pairs) is list and len(arguments) < 2, "pairs")
    _need(all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs), "pairs")
    made: dict[str, Any] = {}
    _set_items(made, pairs)
    return made


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    # Behind the four come whether a gradient is wanted, hooks, and metadata.
    _need(4 <= len(arguments) <= 7, "a tensor's place")
    storage, offset, shape, stride = arguments[:4]
    _need(type(storage) is Storage and _count(offset), "a tensor's place")
    _need(
        all(type(sizes) is tuple and all(map(_count, sizes)) for sizes in (shape, stride)), "sizes"
    )
    _need(len(shape) == len(stride) and len(shape) <= 32, "a stride for each size")
    return StoredTensor(storage, offset, shape, stride)


def _parameter(arguments: tuple[Any, ...]) -> StoredTensor:
    _need(bool(arguments) and type(arguments[0]) is StoredTensor, "a parameter's tensor")
    return arguments[0]


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    _need(len(arguments) == 1 and type(arguments[0]) is tuple, "a size")
    return arguments[0]


def _storage(place: Any) -> Storage:
    _need(type(place) is tuple and len(place) in (5, 6) and place[0] == "storage", "a storage")
    kind, key, _, size = place[1:5]
    _need(type(kind) is Named and kind.name not in _CALLS, "a storage's type")
    _need(type(key) is str and _count(size), "a storage's key and size")
    part = place[5] if len(place) == 6 and place[5] is not None else (key, 0, size)
    _need(type(part) is tuple and len(part) == 3, "a storage's part")
    first, length = part[1:]
    _need(_count(first) and _count(length) and first + length <= size, "room for a storage's part")
    return Storage(key, DTYPES[kind.name.rpartition(".")[2]], size, first, length)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**40


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": _size,
}

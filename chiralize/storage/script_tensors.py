"""The tensors that a TorchScript pickle describes, checked against the bytes that the archive holds for them.

torch's C++ reader believes how many numbers a member holds, and reads past the end of its bytes: the process dies, or
memory that is not the file's ends up in a weight.  Here the pickle is followed on a stack that holds
numbers, names and tuples only.  Nothing is imported, called or built.

`torchscript` calls `check_script_tensors` for each pickle of an archive, before torch reads it.  A weight is written as

    BINPERSID of ("storage", torch.FloatStorage, "0", "cpu", 6)        6 numbers of the member data/0: 24 bytes
    torch._utils._rebuild_tensor_v2(that, offset 0, sizes (2, 3), strides (3, 1), ...)

and is fine where data/0 has 24 bytes at least, and the last entry, number 0 + 1 * 3 + 2 * 1 = 5, is one of the 6.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from chiralize.errors import UnsafeFileError
from chiralize.storage.bounds import REMEDY, check_claim

_BYTES = {
    **dict.fromkeys(("Bool", "Byte", "Char", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"), 1),
    **dict.fromkeys(("Float8_e5m2", "Float8_e4m3fn", "Float8_e5m2fnuz", "Float8_e4m3fnuz", "Float8_e8m0fnu"), 1),
    **dict.fromkeys(("Short", "UInt16", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "UInt32", "Float", "QInt32", "ComplexHalf"), 4),
    **dict.fromkeys(("Long", "UInt64", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
_REBUILT = frozenset({"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_qtensor"})
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_LARGEST = 1 << 62
"""Above any count of a real file, and small enough for the C++ reader's 64 bits."""


@dataclass(frozen=True)
class _Global:
    """A name that the pickle imports."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Bytes of the archive as numbers of one type.  count: how many numbers.  room: bytes that they take."""

    member: str
    count: int
    room: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor that was checked."""

    sizes: tuple[int, ...]


class _Other:
    """Stands for values that cannot be part of a tensor's description: lists, tables, objects, floats, booleans."""


_OTHER = _Other()
_MARK = object()


class _DescriptionError(Exception):
    """Says what is wrong with the description of a tensor."""


def check_script_tensors(data: bytes, member: str, size_of: Callable[[str], int | None], where: str) -> None:
    """Refuse tensors that reach beyond their bytes, and descriptions of them that torch does not write.

    data: a pickle of the archive.  member: its name.  size_of: the bytes of another member, None where there is none.
    Raises UnsafeFileError.
    """
    try:
        _Follower(member.removesuffix(".pkl"), size_of, where).follow(data)
    except _DescriptionError as error:
        raise UnsafeFileError(where, f"member {member!r}: {error}", REMEDY) from error
    except (IndexError, KeyError, ValueError) as error:
        facts = f"member {member!r} is not a pickle that torch.jit.save writes ({type(error).__name__}: {error})"
        raise UnsafeFileError(where, facts, REMEDY) from error


class _Follower:
    """Follows a pickle as the C++ reader does, with stand-ins on the stack."""

    def __init__(self, folder: str, size_of: Callable[[str], int | None], where: str) -> None:
        self._folder, self._size_of, self._where = folder, size_of, where
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, data: bytes) -> None:
        """Take every op.  Raises _DescriptionError, UnsafeFileError; IndexError, KeyError or ValueError on damage."""
        for op, argument, _ in pickletools.genops(data):
            self._take(op.name, argument)

    def _take(self, op: str, argument: Any) -> None:
        """An op that puts something on the stack, or remembers its top.  Raises as `follow`."""
        # Ops that torch's reader does not know end in `_combine` as damage: what it would do with them nobody can say.
        stack = self._stack
        if op in ("PROTO", "STOP"):
            return
        if op in _NUMBERS_AND_TEXT:
            stack.append(argument)
        elif op in _PUSHED:
            stack.append(_PUSHED[op])
        elif op == "GLOBAL":
            stack.append(_Global(argument.replace(" ", ".")))  # "module name"
        elif op in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]  # a storage that two tensors share is described once, and fetched later
        elif op in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        else:
            self._combine(op)

    def _combine(self, op: str) -> None:
        """An op that takes entries off the stack, and may put there what it makes of them."""
        # Containers and objects are stand-ins: what is put into them is dropped.  Only tuples keep their entries, since
        # descriptions of tensors are tuples.
        stack = self._stack
        if op in _POPPED:
            self._pop(_POPPED[op])
        elif op in ("APPENDS", "SETITEMS"):
            self._pop_to_mark()
        elif op in _LENGTHS:
            stack.append(tuple(self._pop(_LENGTHS[op])))
        elif op == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif op in ("LIST", "DICT"):
            self._pop_to_mark()
            stack.append(_OTHER)
        elif op == "NEWOBJ":  # a class and its arguments
            self._pop(2)
            stack.append(_OTHER)
        elif op == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(self._called(function, arguments))
        elif op == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        else:
            raise ValueError(f"opcode {op}")

    def _pop(self, count: int) -> list[Any]:
        """The last entries of the stack, which are taken off it, in their order."""
        if len(self._stack) < count:
            raise IndexError("it takes more from its stack than there is")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _pop_to_mark(self) -> list[Any]:
        """The entries behind the last mark, in their order; they and the mark are taken off."""
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _called(self, function: Any, arguments: Any) -> Any:
        """What a call puts on the stack: a tensor that was checked, or a stand-in for anything else."""
        if not isinstance(function, _Global):
            raise _DescriptionError("it calls something that has no name")
        if function.name in _REBUILT:
            return self._tensor(arguments)
        if function.name == _PARAMETER and isinstance(arguments, tuple) and arguments:
            return arguments[0]
        if function.name == _FROM_TYPE:  # (function, type, its arguments, state): a tensor inside a call
            if not (isinstance(arguments, tuple) and len(arguments) == 4):
                raise _DescriptionError("a tensor of a type of its own is not described as torch does")
            return self._called(arguments[0], arguments[2])
        return _OTHER

    def _storage(self, description: Any) -> _Storage:
        """The bytes behind (the word "storage", its type, the member's name, the device, how many numbers)."""
        if not (isinstance(description, tuple) and len(description) == 5 and description[0] == "storage"):
            raise _DescriptionError("refers to bytes in a way that torch does not")
        # Sizes are compared in bytes here, and in numbers for each tensor of the storage (`_tensor`).
        kind, key, count = description[1], description[2], description[4]
        name = kind.name if isinstance(kind, _Global) else ""
        itemsize = _BYTES.get(name.removeprefix("torch.").removesuffix("Storage"))
        if itemsize is None or not isinstance(key, str) or not _is_count(count):
            raise _DescriptionError("refers to bytes in a way that torch does not")
        member = f"{self._folder}/{key}"
        room = self._size_of(member)
        if room is None:
            raise _DescriptionError(f"refers to {member!r}, which the archive does not hold")
        if count * itemsize > room:
            raise _DescriptionError(f"takes {count:,} numbers of {itemsize} bytes from {member!r}, which has {room:,}")
        return _Storage(member, count, room)

    def _tensor(self, arguments: Any) -> _Tensor:
        """The tensor of (storage, offset, sizes, strides, whatever follows), counted in numbers."""
        if not (isinstance(arguments, tuple) and len(arguments) >= 4 and isinstance(arguments[0], _Storage)):
            raise _DescriptionError("a tensor is not described as torch does")
        storage, offset, sizes, strides = arguments[:4]
        if not (_is_count(offset) and _are_counts(sizes) and _are_counts(strides) and len(sizes) == len(strides)):
            facts = f"a tensor in {storage.member!r} has offset {offset!r}, sizes {sizes!r} and strides {strides!r}"
            raise _DescriptionError(facts[:300])
        end = offset
        if 0 not in sizes:  # the last entry lies at offset + sum of (size - 1) * stride
            end += 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if end > storage.count:
            facts = f"a tensor of sizes {sizes}, strides {strides} and offset {offset} reaches to number {end:,}"
            raise _DescriptionError(f"{facts} of {storage.member!r}, which has {storage.count:,}")
        check_claim(sizes, storage.room, f"a tensor in {storage.member!r}", self._where)
        _check_scales(arguments[4] if len(arguments) > 4 else None, sizes, storage.member)
        return _Tensor(sizes)


def _check_scales(quantizer: Any, sizes: Sequence[int], member: str) -> None:
    """Refuse (kind, scales, zero points, axis) of a quantised tensor where there are not as many as channels."""
    # One scale for the whole tensor is a number; scales per channel are tensors, which kernels index by the channel.
    if not (isinstance(quantizer, tuple) and any(isinstance(part, _Tensor) for part in quantizer)):
        return
    axis: Any = quantizer[3] if len(quantizer) == 4 else None
    channels = sizes[axis] if _is_count(axis) and axis < len(sizes) else None
    for part in quantizer[1:3]:
        if channels is None or not isinstance(part, _Tensor) or prod(part.sizes) != channels:
            raise _DescriptionError(f"a quantised tensor in {member!r} has other scales than channels")


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number that can count something; True is none."""
    return type(value) is int and 0 <= value < _LARGEST


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(map(_is_count, values))


# Ops by what they do to the stack: put their argument there, put a stand-in there, take entries off, gather them.
_NUMBERS_AND_TEXT = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"})
_PUSHED: dict[str, Any] = {
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "NEWTRUE", "NEWFALSE", "NONE", "BINFLOAT"), _OTHER),
    "EMPTY_TUPLE": (),
    "MARK": _MARK,
}
_POPPED = {"APPEND": 1, "SETITEM": 2, "BUILD": 1, "POP": 1}
_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

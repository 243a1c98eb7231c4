"""What kind of file is this? A format is a function from bytes to a `Source`, or None; a trainer is a row of a table.

The content decides, never the suffix. Whoever adds a format writes such a function and puts it into FORMATS; whoever
adds a trainer writes a row: by which entries its checkpoints are known, and which of them hold the weights.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.files import Content, content_of, packed, unknown
from chiralize.storage.pickles import Foreign, ForeignError, read_pickle
from chiralize.storage.torch_file import read_torch

_POLICY = "policy.pth"
_ACTIVATION = re.compile(r"torch\.nn\.modules\.activation\.(\w+)")
_METADATA = "chirality"
"""The entry of a safetensors header that holds the passport."""


@dataclass(frozen=True)
class Source:
    """A file of weights as it was read.

    kind: of file.  tree: dicts, lists, plain values, tensors that are views of the file's own memory, Foreign objects.
    passport: the text of one, "" where none travels along.  foreign: classes that only the file's code could restore.
    written: the file with whatever the views hold now, and with a passport; None where it is not written back.
    activation: of a policy, where the file says it.
    """

    kind: str
    content: Content
    tree: Any
    passport: str = ""
    foreign: tuple[str, ...] = ()
    written: Callable[[str], bytes] | None = None
    activation: str = ""

    @property
    def is_pickled_module(self) -> bool:
        """Whether the file holds an object by itself, which only its own code could restore whole."""
        return isinstance(self.tree, Foreign)


@dataclass(frozen=True)
class Trainer:
    """How checkpoints of a trainer are known, and what is in them.

    keys: entries of all of them.  tables: those that hold weights.  idle: weights that only training needs, see
    `tables.fits`.  arguments: the entry with the arguments of the class.
    """

    title: str
    keys: frozenset[str]
    tables: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    arguments: str = ""


_OF_RSL_RL = ("std", "log_std", "distribution.", "critic.", "critic_obs_normalizer.", "memory_c.")
"""Networks of rsl_rl that draw actions, or give their value."""
_LIGHTNING = frozenset({"state_dict", "pytorch-lightning_version"})
TRAINERS: Sequence[Trainer] = (
    Trainer("Lightning", _LIGHTNING, ("state_dict",), arguments="hyper_parameters"),
    Trainer("rsl_rl", frozenset({"iter", "actor_state_dict"}), ("actor_state_dict",), _OF_RSL_RL),
    Trainer("rsl_rl", frozenset({"iter", "student_state_dict"}), ("student_state_dict",), _OF_RSL_RL),
    Trainer("rsl_rl", frozenset({"iter", "model_state_dict"}), ("model_state_dict",), _OF_RSL_RL),
    Trainer("mmengine", frozenset({"state_dict", "meta"}), ("state_dict",)),
)
UNKNOWN = Trainer("", frozenset())


def trainer_of(tree: Any) -> Trainer:
    """The trainer that wrote a checkpoint; `UNKNOWN` where no row is of it."""
    keys = tree.keys() if isinstance(tree, Mapping) else frozenset()
    return next((trainer for trainer in TRAINERS if trainer.keys <= keys), UNKNOWN)


# ---- formats -----------------------------------------------------------------------------------------------------
def _torch(content: Content) -> Source | None:
    """What torch.save wrote: weights, checkpoints, pickled modules."""
    file = read_torch(content)
    if file is None:
        return None
    return Source("torch", content, file.tree, file.passport, file.foreign, file.written)


def _sb3(content: Content) -> Source | None:
    """A model of Stable-Baselines3: a zip with the file of torch that holds its policy; its pickles stay unread."""
    if not {"data", _POLICY} <= set(content.members):
        return None
    inner = read_torch(content_of(content.member(_POLICY), f"{content.where}: {_POLICY}"))
    if inner is None:
        raise ModelFileError(content.where, f"its member {_POLICY} is no file of torch.save", "save the model again")

    def written(passport: str) -> bytes:
        """The archive with the policy as it is now."""
        members = {name: content.member(name) for name in content.members}
        return packed({**members, _POLICY: inner.written(passport)})

    activation = _activation_in(bytes(content.member("data")))
    return Source("sb3", content, inner.tree, inner.passport, inner.foreign, written, activation)


def _activation_in(data: bytes) -> str:
    """The activation that the JSON of a file of Stable-Baselines3 names; "" for its default."""
    try:
        said = _ACTIVATION.search(json.dumps(json.loads(data).get("policy_kwargs", "")))
    except (ValueError, AttributeError, RecursionError):
        return ""
    return said[1] if said else ""


_SAFE_KINDS: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


def _safetensors(content: Content) -> Source | None:
    """A file of safetensors: 8 bytes with the length of a JSON header, the header, the numbers."""
    length = int.from_bytes(content.view[:8], "little")
    if not (content.start[8:9] == b"{" and length <= len(content.view) - 8):
        return None
    try:
        header = json.loads(bytes(content.view[8 : 8 + length]))
        metadata = dict(header.pop("__metadata__", {}))
        data = content.view[8 + length :]
        tree = {name: _safe_tensor(entry, data) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        facts = f"is a damaged file of safetensors ({type(error).__name__}: {error})"
        raise ModelFileError(content.where, facts, "copy or download the file again") from error

    def written(passport: str) -> bytes:
        """The same numbers, header and metadata, with a passport."""
        text = json.dumps({"__metadata__": {**metadata, _METADATA: passport}, **header}).encode()
        text += b" " * (-len(text) % 8)
        return b"".join([len(text).to_bytes(8, "little"), text, data])

    return Source("safetensors", content, tree, str(metadata.get(_METADATA, "")), written=written)


def _safe_tensor(entry: Mapping[str, Any], data: memoryview) -> torch.Tensor:
    """One tensor as a view of the numbers. Raises ValueError for one that does not fill its place."""
    dtype, (begin, end) = _SAFE_KINDS[entry["dtype"]], entry["data_offsets"]
    shape = tuple(map(int, entry["shape"]))
    count = int(np.prod(shape, dtype=object))
    if not 0 <= begin <= end <= len(data) or min(shape, default=0) < 0 or end - begin != count * dtype.itemsize:
        raise ValueError(f"a tensor {shape} in {end - begin} bytes")
    room = data[begin:end]
    return torch.frombuffer(room, dtype=dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


def _numpy(content: Content) -> Source | None:
    """Arrays as `numpy.save` and `numpy.savez` write them."""
    is_npz = bool(content.members) and all(name.endswith(".npy") for name in content.members)
    if not is_npz and not content.start.startswith(b"\x93NUMPY"):
        return None
    if is_npz:
        arrays = {name.removesuffix(".npy"): read_npy(content.member(name), content.where) for name in content.members}
        return Source("npz", content, with_tensors(arrays))
    return Source("npy", content, with_tensors(read_npy(content.view, content.where)))


def read_npy(data: memoryview, where: str) -> Any:
    """The array of a `.npy`, or the objects in it. Raises UnsafeFileError for objects of classes, ModelFileError."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject:
            value = read_pickle(data[stream.tell() :])
            return value if shape else value
        count = int(np.prod(shape, dtype=object))
        if min(shape, default=0) < 0:
            raise ValueError("a negative size")
        values = np.frombuffer(data, dtype, count, stream.tell())
        return values.reshape(shape, order="F" if fortran else "C")
    except ForeignError as error:
        raise unsafe(where, str(error)) from error
    except Exception as error:  # a damaged header or pickle raises whatever its bytes happen to mean
        facts = f"is a damaged file of numpy ({type(error).__name__}: {error})"
        raise ModelFileError(where, facts, "copy or download the file again") from error


def _pickle(content: Content) -> Source | None:
    """A plain pickle: of arrays and numbers alone."""
    if not content.start.startswith(b"\x80"):
        return None
    try:
        return Source("pickle", content, with_tensors(read_pickle(content.view)))
    except ForeignError as error:
        raise unsafe(content.where, str(error)) from error
    except Exception:  # a damaged pickle raises whatever its bytes happen to mean
        return None


def with_tensors(tree: Any) -> Any:
    """The same dicts, lists and tuples with tensors in place of arrays of numbers."""
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "biufc":
        # torch has no other order of bytes than the machine's.
        native = np.array(tree, dtype=tree.dtype.newbyteorder("="))
        return torch.from_numpy(native)
    if isinstance(tree, Mapping):
        return {name: with_tensors(entry) for name, entry in tree.items()}
    return [with_tensors(entry) for entry in tree] if isinstance(tree, (list, tuple)) else tree


def unsafe(where: str, names: str) -> UnsafeFileError:
    """The error for a file of which only its own code could restore what it holds."""
    facts = f"restoring it would run code that it names ({names})"
    return UnsafeFileError(where, facts, "save weights by torch.save; or, if you trust its code, add --unsafe-pickle")


FORMATS: Sequence[Callable[[Content], Source | None]] = (_torch, _sb3, _safetensors, _numpy, _pickle)


def source_of(content: Content) -> Source:
    """The weights or arrays in a file. Raises ModelFileError for any other file, UnsafeFileError."""
    for known in FORMATS:
        source = known(content)
        if source is not None:
            return source
    raise unknown(content)

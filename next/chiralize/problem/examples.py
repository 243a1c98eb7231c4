"""One call of a network as an example: of given sizes, from a file, as its own file brings it, or derived.

Every command needs a call to export a network with. What the user says comes first: sizes, then a file; then what the
file of the network brings along; last, sizes are derived by trial (`derive`).

    --input-shape 1,17,2 --input-shape mask=1,17      forward(pose, mask): the first by its position, the second by name
    --input-shape policy=1,48                         forward(obs), where obs is a table: {"policy": x}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from chiralize.body.schema import Tensor as Entry
from chiralize.body.spec import Spec
from chiralize.errors import DataFileError, UsageError
from chiralize.graph.run import Arguments, Call
from chiralize.problem.derive import SAMPLES, Reading, Search
from chiralize.problem.prepare import copy_of, entered
from chiralize.problem.request import Source
from chiralize.problem.trial import Argument, Arrangement, arguments_of, arrangements
from chiralize.storage.arrays import load_arrays

__all__ = ["Reading", "example_for"]


def example_for(
    module: nn.Module,
    spec: Spec,
    *,
    source: Source,
    brought: Call | None = None,
    entry: str = "forward",
    arrays: Mapping[str, Tensor] | None = None,
) -> Reading:
    """One call of a network: from --input-shape, from --example, else what its file brings along, else derived.

    module: it is not touched.  arrays: inputs that the user has, "sample ...": their sizes are tried first.
    Raises UsageError where nothing fits, AmbiguousLayoutError where several readings do, DataFileError.
    """
    dtype = next(
        (tensor.dtype for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point()),
        torch.float32,
    )
    if source.input_shapes and source.example is not None:
        raise UsageError("--example", "--input-shape is given as well", "give one of them")
    if source.input_shapes:
        call = _of_shapes(source.input_shapes, spec, dtype, arguments_of(module, entry))
        shapes = [tuple(tensor.shape) for tensor in Arguments.of(*call).tensors]
        observed = [one for one in spec.inputs or () if one.kind != "state"]
        if not len(observed) == len(shapes) < len(spec.inputs or ()):
            return Reading(call, spec)
        # The sizes of states follow from the layers that have them.
        return Search(entered(copy_of(module), entry), spec, dtype, {}, shapes).reading()
    if source.example is not None:
        return Reading(_of_file(source.example, spec, dtype, arguments_of(module, entry)), spec)
    if brought is not None:
        return Reading(brought, spec)
    return Search(entered(copy_of(module), entry), spec, dtype, arrays or {}).reading()


# ---- what the user says ------------------------------------------------------------------------------------------
def _of_shapes(texts: Sequence[str], spec: Spec, dtype: torch.dtype, arguments: Sequence[Argument] | None) -> Call:
    """A call with random numbers of the given sizes: `1,47`, or `name=1,47` for an argument or a key of its table."""
    generator = torch.Generator().manual_seed(0)
    in_order, by_name = list[Tensor](), dict[str, Tensor]()
    for text in texts:
        name, _, sizes = text.rpartition("=")
        numbers = sizes.split(",")
        if not all(number.strip().isdecimal() and int(number) for number in numbers):
            raise UsageError("--input-shape", f"{text!r} is no list of sizes", "write for example 1,243,17,2")
        tensor = torch.randn([int(number) for number in numbers], generator=generator).to(dtype)
        if name:
            by_name[name.strip()] = tensor
        else:
            in_order.append(tensor)
    if not by_name:
        return _in_order(in_order, spec, arguments)
    return _named(in_order, by_name, arguments, "--input-shape")


def _in_order(tensors: Sequence[Tensor], spec: Spec, arguments: Sequence[Argument] | None) -> Call:
    """The call in which tensors stand in their order; arguments that go by name alone come last."""
    entries: Sequence[Entry] = spec.inputs or ()
    kinds = [one.kind for one in entries] if len(entries) == len(tensors) else ["pose"] * len(tensors)
    ways = arrangements(kinds, [None] * len(tensors), arguments)
    return next(ways, Arrangement((0,) * len(tensors))).call(tensors)


def _named(
    in_order: Sequence[Tensor], by_name: Mapping[str, Tensor], arguments: Sequence[Argument] | None, where: str
) -> Call:
    """The call in which some tensors have names: those of arguments, else of keys of its one table."""
    names = [argument.name for argument in arguments or ()]
    if set(by_name) <= set(names[len(in_order) :]):
        args = list(in_order)
        for argument in (arguments or ())[len(in_order) :]:
            if argument.by_name or argument.name not in by_name:
                break
            args.append(by_name[argument.name])
        return tuple(args), {name: by_name[name] for name in names[len(args) :] if name in by_name}
    if not in_order and not set(by_name) & set(names):
        return (dict(by_name),), {}
    unknown = next(name for name in by_name if name not in names[len(in_order) :])
    raise UsageError(where, f"{unknown!r} is no argument that is left: there are {', '.join(names)}", "name those")


def _of_file(path: Path, spec: Spec, dtype: torch.dtype, arguments: Sequence[Argument] | None) -> Call:
    """The first samples of every array in a file: by name where all are names of arguments, else in their order.

    Numbers become those of the network's precision; whole ones stay where the mirror leaves the input alone.
    """
    tensors: dict[str, Tensor] = {}
    for name, array in load_arrays(path).items():
        if not array.ndim:
            raise DataFileError(str(path), f"{name!r} is a single number", "store samples first: (sample, ...)")
        tensors[name] = torch.as_tensor(array[:SAMPLES])
    names = [argument.name for argument in arguments or ()]
    entries: Sequence[Entry] = spec.inputs or ()
    for position, (name, tensor) in enumerate(tensors.items()):
        index = names.index(name) if name in names else position
        kind = entries[index].kind if index < len(entries) else "pose"
        if tensor.is_floating_point() or kind in ("pose", "fields"):
            tensors[name] = tensor.to(dtype)
    if set(tensors) <= set(names):
        return _named((), tensors, arguments, str(path))
    return _in_order(list(tensors.values()), spec, arguments)

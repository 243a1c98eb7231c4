"""One call of a network as an example: from sizes, from a file of arrays, from what its own file brings, or derived.

Every command needs one call to export a network with. What the user says comes first: sizes, then a file; then what
the network's file brings along; last, sizes are searched for (`readings/derive`), with calibration inputs as hints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from chiralize.body.tensors import ConversionSpec, TensorEntry
from chiralize.body.tensors.claims import sized
from chiralize.errors import DataFileError, NonFiniteError, UnsafeFileError, UsageError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.inputs import calls_from
from chiralize.problem.data.kinds import array_name, as_tensor, fitting_kind, is_real
from chiralize.problem.data.shapes import call_of_shapes, input_names, names_by_keyword
from chiralize.problem.data.suited import refuse_fractions, remark_on_kinds, suited
from chiralize.problem.progress import Progress, silent
from chiralize.problem.readings.derive import Derived, derive
from chiralize.storage.arrays import load_arrays

_MOST_SAMPLES = 256
"""Of the user's inputs that are looked at while sizes are derived."""


@dataclass(frozen=True)
class Examples:
    """One call of a network. spec: with what was assumed of its inputs.  remark: what they were taken for, or "".

    is_open: nobody asked for one sample; it may be two as well.  open_axes: of every input whose sizes were derived,
    the axes that have another size as well, with their words in the layout.
    """

    call: Call
    spec: ConversionSpec
    remark: str = ""
    is_open: bool = False
    open_axes: tuple[Mapping[int, str], ...] = ()


def examples_for(
    module: torch.nn.Module,
    spec: ConversionSpec,
    where: str,
    *,
    shapes: Sequence[str] = (),
    example: Path | None = None,
    brought: Call | None = None,
    samples: Mapping[str, torch.Tensor] | None = None,
    entry: str = "forward",
    option: str = "--input-shape",
    progress: Progress = silent,
    command: str = "",
    arguments: Mapping[str, object] | None = None,
) -> Examples:
    """One call of a network: from --input-shape, from --example, else what its file brings along, else derived.

    Where the user's samples have whole numbers for an argument, their first is the example.

    module: it is not touched.  where: the network, as messages name it.  brought: the inputs in its file, or of its
    record.  samples: inputs that the user has, see `derive`.  option: how the user gives sizes, as the remark names it.
    progress: called during the trial of sizes.  command: as the user typed it, for messages.  arguments: with which
    the user made the network, see `derive`.
    Raises UsageError where there are none and none can be derived, DataFileError where arrays do not fit.
    """
    if shapes and example is not None:
        raise UsageError("--example", "--input-shape is given as well", "give one of them")
    dtype = floating_dtype(module)
    if shapes:
        call = call_of_shapes(shapes, dtype, module, entry)
        observed = list(call[0]) if not call[1] else []
        if not _leaves_states_out(observed, spec):
            return Examples(call, spec)
        # Sizes of states follow from the layers that have them, as they do where no sizes are given at all.
        offered = {str(number): tensor for number, tensor in enumerate(observed)}
        try:
            derived = derive(module, sized(spec), dtype, entry, where, option, progress, command, offered, arguments)
        except UsageError:
            return Examples(call, spec)  # its own error says what it lacks
        if _observed_in(derived) != [tuple(tensor.shape) for tensor in observed]:
            return Examples(call, spec)
        return Examples(derived.call, spec)
    if example is not None and brought is not None:
        return Examples(calls_from(example, brought, names=input_names(module, entry), most=1)[0], spec)
    if example is not None:
        names, by_keyword = input_names(module, entry), names_by_keyword(module, entry)
        call, is_one_of_many = _first_samples(example, dtype, names, by_keyword)
        taken = suited(module, call, spec, dtype, entry) or call
        return Examples(taken, spec, remark_on_kinds(call, taken, example.name), is_open=is_one_of_many)
    if brought is not None:
        return Examples(brought, spec)
    # Time steps and classes: random numbers of the right sizes would be no such inputs, and lookups would fail.
    if samples is not None and (call := _of_whole_numbers(module, samples, spec, dtype, entry)) is not None:
        return Examples(call, spec, is_open=True)
    derived = derive(module, sized(spec), dtype, entry, where, option, progress, command, samples or {}, arguments)
    spec = replace(derived.spec, outputs=_with_layouts(spec, derived.spec))
    return Examples(derived.call, spec, derived.remark, True, derived.open_axes)


def _leaves_states_out(tensors: Sequence[torch.Tensor], spec: ConversionSpec) -> bool:
    """Whether these are as many as the inputs of a specification but its states, of which there are some."""
    entries = spec.inputs or ()
    observed = [entry for entry in entries if entry.kind != "state"]
    return len(tensors) == len(observed) < len(entries)


def _observed_in(derived: Derived) -> list[tuple[int, ...]]:
    """The sizes of the inputs of a derived call that are no states."""
    tensors, entries = Arguments.of(*derived.call).tensors, derived.spec.inputs or ()
    observed = [tensor for tensor, entry in zip(tensors, entries, strict=False) if entry.kind != "state"]
    return [tuple(tensor.shape) for tensor in observed]


def _with_layouts(spec: ConversionSpec, derived: ConversionSpec) -> tuple[TensorEntry, ...] | None:
    """The outputs as the user describes them, in the layouts that were found for those without one."""
    if spec.outputs is None or derived.outputs is None:
        return derived.outputs
    outputs: list[TensorEntry] = []
    for entry, other in zip(spec.outputs, derived.outputs, strict=True):
        is_open = entry.kind == "pose" and entry.layout is None
        outputs.append(replace(entry, layout=other.layout) if is_open else entry)
    return tuple(outputs)


def some_samples(path: Path | None) -> dict[str, torch.Tensor]:
    """Some samples of every array in a file, by name; none of a file that cannot be read, which is said later."""
    if path is None:
        return {}
    try:
        arrays = load_arrays(path, skip_text=True)
    except (DataFileError, NonFiniteError, UnsafeFileError):
        return {}
    return {name: some_of(array) for name, array in arrays.items() if array.ndim > 0}


def samples_in(calibration: object) -> dict[str, torch.Tensor]:
    """The same of data of the Python interface: of an array, of a tuple of arrays that differ, or of the first call.

    None of anything else. Arguments without a name get their number for one. What can be run through only once is not
    touched.
    """
    if isinstance(calibration, (torch.Tensor, np.ndarray)):
        arrays: Mapping[str, object] = {"": calibration}
    elif isinstance(calibration, (list, tuple)) and calibration:
        call = calibration if _is_call(calibration) else calibration[0]
        if isinstance(call, Mapping):
            arrays = {str(name): value for name, value in call.items()}
        elif isinstance(call, tuple):
            arrays = {str(number): value for number, value in enumerate(call)}
        else:
            arrays = {"": call}
    else:
        return {}
    return {
        name: some_of(array)
        for name, array in arrays.items()
        if isinstance(array, (torch.Tensor, np.ndarray)) and array.ndim > 0 and len(array)
    }


def _is_call(data: object) -> bool:
    """Whether data are a tuple of arrays whose samples differ in size: one for each argument, no batches of one."""
    if not isinstance(data, tuple) or not all(isinstance(value, (torch.Tensor, np.ndarray)) for value in data):
        return False
    return len({tuple(value.shape[1:]) for value in data}) > 1


def some_of(samples: np.ndarray | torch.Tensor) -> torch.Tensor:
    """At most 256 samples of many, from all parts of them: neighbours in a film are much alike."""
    chosen = samples[:: max(1, len(samples) // _MOST_SAMPLES)][:_MOST_SAMPLES]
    if isinstance(chosen, torch.Tensor):
        return chosen.detach().cpu()
    return torch.from_numpy(np.array(chosen))


def floating_dtype(module: torch.nn.Module) -> torch.dtype:
    """The dtype of the first floating parameter or buffer (float32 if there is none)."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def _first_samples(
    path: Path, dtype: torch.dtype, names: Sequence[str], by_keyword: Sequence[str]
) -> tuple[Call, bool]:
    """The first sample of every array, and whether each has more.

    By name where all are names of the arguments, else in file order.
    """
    arrays = load_arrays(path)
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataFileError(
                str(path), f"{array_name(name)} is a single number", "store samples first: (sample, ...)"
            )
    tensors: dict[str, torch.Tensor] = {}
    for name, array in arrays.items():
        tensors[name] = as_tensor(array[:1], fitting_kind(array, dtype, name, str(path)), name, str(path))
    has_more = all(len(array) > 1 for array in arrays.values())
    return _in_order(tensors, names, by_keyword), has_more


def _in_order(tensors: Mapping[str, torch.Tensor], names: Sequence[str], by_keyword: Sequence[str]) -> Call:
    """The call with these tensors: by name where all are names of the arguments, else as they come.

    names: of the arguments that may go by their order.  by_keyword: of those that go by their names alone.
    """
    if not set(tensors) <= {*names, *by_keyword}:
        values = list(tensors.values())
        # Those that come after all that may go by their order are the first that may not.
        later = values[len(names) :]
        if not by_keyword or len(later) > len(by_keyword):
            return tuple(values), {}
        return tuple(values[: len(names)]), dict(zip(by_keyword, later, strict=False))
    count = 0  # of the arguments that can go by their order, since none before them is missing
    while count < len(names) and names[count] in tensors:
        count += 1
    args = tuple(tensors[name] for name in names[:count])
    return args, {name: tensors[name] for name in (*names[count:], *by_keyword) if name in tensors}


def _of_whole_numbers(
    module: torch.nn.Module, samples: Mapping[str, torch.Tensor], spec: ConversionSpec, dtype: torch.dtype, entry: str
) -> Call | None:
    """The first of the user's samples as a call, where some argument takes whole numbers or a mask; else None.

    Sizes of such a call are not tried: what is tried is drawn, and real. So they are where arrays go by the names of
    several arguments, and where the network takes them all as real numbers.
    Raises DataFileError where it takes whole numbers, and the samples have others.
    """
    names, by_keyword = input_names(module, entry), names_by_keyword(module, entry)
    if len(samples) < 2 or not set(samples) <= {*names, *by_keyword} or not all(map(len, samples.values())):
        return None
    first = _in_order({name: tensor[:1].clone() for name, tensor in samples.items()}, names, by_keyword)
    call = suited(module, first, spec, dtype, entry)
    if call is None:
        in_order = [name for name in (*names, *by_keyword) if name in samples]
        refuse_fractions(module, first, spec, dtype, in_order, entry)
        return None
    if any(not is_real(tensor.dtype) for tensor in (*samples.values(), *Arguments.of(*call).tensors)):
        return call
    return None

"""From what the user hands in to a network made ready: copied, entered, run, fitted to the specification, captured.

The first step of every command, after the files are read. `described` does what takes little time: a copy on the CPU,
one call on the examples, and the specification fitted to the sizes of that call. `prepare` goes on to the exported
program and the captured graph. Mistakes of the user are errors here; that a network has no graph is none, since
`average` works without. It is kept in the record as `origin.problem`.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import getattr_static
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, resolve
from chiralize.errors import CaptureError, ModelRunError, UsageError
from chiralize.errors.words import first_line, when
from chiralize.graph.copies import copied, is_large, unwrapped
from chiralize.graph.devices import CPU, on, on_cpu
from chiralize.graph.fixed_sizes import fixed_sizes
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Arguments, results
from chiralize.graph.snapshot import Change
from chiralize.graph.state import as_buffers, first_answer_and_state
from chiralize.graph.unheld import as_held
from chiralize.infer.capture import capture
from chiralize.problem.axes import FRAMES, batch_axes
from chiralize.problem.exporting import called, exported
from chiralize.problem.further import further_mirrors
from chiralize.problem.named_tensors import as_dictionaries, has_tensordict, is_tensordict
from chiralize.problem.network import GraphOrigin, Handover, Network, OtherMirrors, axes_with_frames
from chiralize.problem.progress import Progress, silent
from chiralize.problem.readings.arguments import all_wanted, refuse_other_order, table_wanted
from chiralize.problem.readings.frames import so_many
from chiralize.problem.sampling import mean_of, naming_the_mean

_BEFORE = "_forward_before_entry"
"""The attribute that keeps a module's own forward while `entry` is in its place."""
_OF_DEVICES = ("CUDA", "NVIDIA", "same device", "device_index", "Device index")
_OF_PRECISIONS = re.compile(r"(?=.*(double|half|float64|float16)).*(same dtype|scalar type|input type)", re.IGNORECASE)
TWO_PRECISIONS = (
    "make all of its numbers float32 (model.float(), or .float() on the constant in its class): some weight or "
    "constant has another precision, which mixed-precision training hides"
)
_OF_WHOLE_NUMBERS = re.compile("(?i)long, int|must be long|index ?tensor|expected.*(indices|index).*(long|int)")
WHOLE_NUMBERS = (
    "some input takes whole numbers (time steps, classes), and inputs of given sizes are real ones: give --example "
    "FILE.npz with an array for every argument, by its name (in Python example_inputs)"
)
TWO_MAY = "; examples of two samples may leave it open to two and more"
"""What a note on a program of one sample adds, as long as two were not tried."""
ON_THE_CPU = "conversions run on the CPU: use x.device in forward, or export it where it runs and pass the program"


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def prepare(
    model: torch.nn.Module | ExportedProgram,
    spec: ConversionSpec,
    args: Sequence[Any] | torch.Tensor,
    kwargs: Mapping[str, Any] | None = None,
    entry: str = "forward",
    progress: Progress = silent,
) -> Network:
    """The network made ready: copied, run, captured, the specification fitted. args: of one call, or its one tensor.

    entry: the method to call in the place of forward.  progress: called for every part of the export.
    Raises UsageError, ModelRunError, SpecError; a failed capture is kept as `problem`.
    """
    network = _with_graph(described(model, spec, args, kwargs, entry), progress)
    return network.with_notes(*_missing(network.resolved), *_forgotten(network.origin.unheld))


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def described(
    model: torch.nn.Module | ExportedProgram,
    spec: ConversionSpec,
    args: Sequence[Any] | torch.Tensor,
    kwargs: Mapping[str, Any] | None = None,
    entry: str = "forward",
) -> Network:
    """The network before it is captured, which is what takes time: copied, run once, the specification fitted.

    Raises UsageError, ModelRunError, SpecError.
    """
    if isinstance(args, torch.Tensor) or is_tensordict(args):
        args = (args,)
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise UsageError("example inputs", f"{type(args).__name__} given", "give a tuple of the arguments of one call")
    # The examples first: whatever is wrong with them is cheaper to say before the network is copied.
    args, kwargs = _in_dictionaries(model, args, kwargs or {}, spec)
    _check_values(args, kwargs)
    args, kwargs = on(CPU, tuple(args)), on(CPU, dict(kwargs))
    inputs = Arguments.of(args, kwargs).tensors
    if not inputs:
        remedy = "give --input-shape or --example, or in Python torch tensors (torch.from_numpy takes arrays)"
        raise UsageError("example inputs", "there is no tensor among them", remedy)
    module, program = fresh_copy(model)
    _check_weights(module)
    if not kwargs:  # arguments by name are not confused by their order
        refuse_other_order(spec, module, entry)
    module = entered(module, entry)
    # One call gives the sizes of the outputs, which the specification is fitted to.
    shapes, unheld = _tried(module, args, kwargs)
    for index, shape in enumerate(shapes):
        if 0 in shape:
            facts = f"output {index} is empty, shape {shape}, of which nothing can be compared"
            raise UsageError("example inputs", facts, "give at least one sample")
    sizes = [tuple(tensor.shape) for tensor in inputs]
    advice = mean_of(model, entry)
    with naming_the_mean(advice):
        resolved = resolve(spec, sizes, shapes)
        further = further_mirrors(spec, sizes, shapes)
    origin = GraphOrigin(from_program=program is not None, unheld=unheld)
    handover, others = Handover(entry, advice), OtherMirrors(further)
    notes = resolved.spec.notices
    return Network(
        module, args, kwargs, resolved, program, origin=origin, notes=notes, handover=handover, others=others
    )


def _in_dictionaries(
    model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], spec: ConversionSpec
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments with dictionaries in the place of TensorDicts, where the network takes those as well.

    That is found out by a call with zeros in place of the numbers.
    """
    if not has_tensordict(args, kwargs):
        return args, kwargs
    tables = as_dictionaries(args, kwargs, spec)
    module, _ = fresh_copy(model)
    try:
        called(module, on(CPU, tables[0]), on(CPU, tables[1]), 0.0)
    except Exception:  # of whatever the network makes of them
        return args, kwargs
    return tables


def _with_graph(network: Network, progress: Progress) -> Network:
    """The network with its program and its graph, or with the error that says why it has none."""
    module, args, kwargs, program = network.module, network.args, network.kwargs, network.program
    captured, traced, problem = None, None, None
    origin = network.origin
    notes: tuple[str, ...] = ()
    try:
        if program is None:
            axes, more = batch_axes(network.resolved), axes_with_frames(network)
            program, traced, notes = exported(module, args, kwargs, axes, more, progress)
        captured = capture(program, args, kwargs, notes)
        # A program holds all that its graph reads. A module may not: that is marked, and stays as it is.
        if not network.origin.from_program:
            captured = as_held(captured, traced or module)
    except CaptureError as error:
        problem = error
    # From now on the trace is the network: it was compared with the module, and the graph is that of the trace.
    if traced is not None:
        network = replace(network, module=traced)
    elif program is not None and not origin.from_program:
        notes += _fixed(program, network)
    origin = replace(origin, traced=traced is not None, problem=problem)
    return replace(network, program=program, captured=captured, origin=origin).with_notes(*notes)


def _check_values(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises UsageError for tensors without values, and where all tensors are empty."""
    tensors = Arguments.of(args, kwargs).tensors
    if any(tensor.is_meta for tensor in tensors):
        facts = "a tensor without values (meta) is among them"
        raise UsageError("example inputs", facts, "give torch.randn of its shape")
    if tensors and not any(tensor.numel() for tensor in tensors):
        facts = f"they are empty, shape {', '.join(str(tuple(tensor.shape)) for tensor in tensors)}"
        raise UsageError("example inputs", facts, "give at least one sample")


def _check_weights(module: torch.nn.Module) -> None:
    """Raises UsageError where a parameter or buffer has no values."""
    named = chain(module.named_parameters(), module.named_buffers())
    empty = [name for name, tensor in named if tensor.is_meta]
    if empty:
        others = when(len(empty) > 1, f", as {len(empty) - 1} more")
        facts = f"{empty[0]} has no values (meta){others}"
        remedy = "build it outside torch.device('meta'), or load its weights: load_state_dict(..., assign=True)"
        raise UsageError(type(module).__name__, facts, remedy)


def fresh_copy(model: torch.nn.Module | ExportedProgram) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """A copy on the CPU, of a module in eval mode, and the program where one is given. Raises UsageError,
    ModelRunError.
    """
    if isinstance(model, ExportedProgram):
        program = on_cpu(model)
        return copied(program.module()), program  # a program's own module writes its states into the program
    check_model(model)
    try:
        module = copied(on_cpu(unwrapped(model)))
        module.eval()  # not all networks return themselves
        return module, None
    except Exception as error:
        facts = f"the module cannot be copied: {first_line(error)}"
        remedy = "remove what cannot be copied (a forward hook, old-style weight_norm), or pass an exported program"
        raise ModelRunError(type(model).__name__, facts, remedy) from error


def check_model(model: object) -> None:
    """Raises UsageError for what is neither a module nor an exported program."""
    if not isinstance(model, (torch.nn.Module, ExportedProgram)):
        if isinstance(model, type):
            what = f"the class {model.__name__}"
        else:
            what = type(model).__name__
        raise UsageError("model", f"{what} given", "give an instance of a torch.nn.Module, or an exported program")


def entered(module: torch.nn.Module, entry: str) -> torch.nn.Module:
    """The module with another method in the place of forward. Raises UsageError where it has none of that name."""
    if entry == "forward":
        return module
    method = getattr(type(module), entry, None)
    if not callable(method):
        names = [name for name in vars(type(module)) if not name.startswith("_") and name != "forward"]
        facts = f"{type(module).__name__} has no method {entry!r}"
        raise UsageError("--entry", facts, f"name one of: {', '.join(names) or 'forward'}")
    vars(module)[_BEFORE] = vars(module).get("forward")  # None where the class's own is in force
    module.forward = types.MethodType(method, module)
    return module


def without_entry(module: torch.nn.Module) -> torch.nn.Module:
    """Undo `entry`: forward is what it was before, the class's or the module's own."""
    if _BEFORE in vars(module):
        del module.forward
        forward = vars(module).pop(_BEFORE)
        if forward is not None:
            module.forward = forward
    return module


def _tried(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[tuple[int, ...]], tuple[str, ...]]:
    """Run it once: shapes of the results, and names of states in attributes that could not be made buffers.

    Attributes that the call changes become buffers of `module` where that is possible (`graph.state`), since a graph
    holds states in buffers.  Raises ModelRunError, with the likeliest remedy.
    """

    def run(probe: torch.nn.Module) -> tuple[Any, tuple[Change, ...]]:
        """The answer, and the states that the call has changed."""
        return first_answer_and_state(probe, lambda scale: called(probe, args, kwargs, scale))

    try:
        answer, changes = run(copied(module))
        unheld = as_buffers(module, changes)
        # Some states became buffers, others did not: which of these still change is seen by a second run.
        if unheld and len(unheld) < len({change.location.attribute for change in changes}):
            unheld = as_buffers(module, run(copied(module))[1])  # beside a state that is held it may be no state
    except (Exception, SystemExit) as error:
        reason = first_line(error)
        if isinstance(error, SystemExit):
            reason = f"it leaves the process (SystemExit: {reason})"
        # The last remedy that applies is given: each is more special than the one before.
        remedy = "give example inputs that it takes: --input-shape, --example, or example_inputs"
        remedy = all_wanted(module, args, kwargs) or table_wanted(module, args) or remedy
        if getattr_static(type(module), "forward", None) is torch.nn.Module.forward:  # a script refuses plain access
            remedy = mean_of(module) or remedy
        remedy = cause_within(reason) or remedy
        facts = f"the network fails on the example inputs: {reason}"
        raise ModelRunError(type(module).__name__, facts, remedy) from error
    leaves = results(answer)[0]
    if not leaves:
        facts = f"the network returns no tensor that can be found: {type(answer).__name__}"
        remedy = (
            "return tensors, or tuples, lists or dicts of them; torch.export.register_dataclass makes a class known"
        )
        raise ModelRunError(type(module).__name__, facts, remedy)
    return [tuple(leaf.shape) for leaf in leaves], unheld


def cause_within(reason: str) -> str:
    """What to do where a network fails whatever sizes its inputs have; "" where it does not say so."""
    if any(word in reason for word in _OF_DEVICES):
        return ON_THE_CPU
    if _OF_PRECISIONS.search(reason):
        return TWO_PRECISIONS
    if _OF_WHOLE_NUMBERS.search(reason):
        return WHOLE_NUMBERS
    return ""


def _forgotten(names: Sequence[str]) -> tuple[str, ...]:
    """A note on states that no graph holds, by the names of their attributes; none where there are none."""
    if not names:
        return ()
    return (
        f"forward keeps a state in {', '.join(names)}, which is not there before the first call: the proof is of a "
        "first call, later ones were run; register_buffer before that has them proved and written",
    )


def _fixed(program: ExportedProgram, network: Network) -> tuple[str, ...]:
    """A note on a program that takes only the batch size of the examples, or only as many frames as they have."""
    resolved = network.resolved
    # The inputs of the program have fake values, in which an open size is a symbol and a fixed one a number.
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    batches: dict[str, None] = {}
    frames: dict[str, None] = {}
    undescribed: list[int] = []
    for name, tensor in zip(program.graph_signature.user_inputs, resolved.input_tensors, strict=False):
        sizes = fixed_sizes(values.get(str(name)))
        if sizes and tensor.has_rows and sizes[0] is not None:
            batches[str(sizes[0])] = None
        for word, axis in tensor.free_axes:
            count = sizes[axis] if sizes and word == FRAMES else None
            if count is not None:
                frames[so_many(count)] = None
                if tensor.entry.layout is None:
                    undescribed.append(axis)
    clauses: list[str] = []
    carries_states = "state" in map(attrgetter("kind"), resolved.input_tensors)  # whose first axis is another
    if batches and (resolved.has_rows or carries_states):
        hint = when(list(batches) == ["1"], TWO_MAY)
        taken = " and ".join(batches)
        clauses.append(
            f"the network fixes its batch: exported, it takes {taken} as in the examples, no other size{hint}; "
            "chiralize.flip_test, which exports nothing, takes any that the class takes"
        )
    # That a program fixes its frames is worth a note only where the module takes others.
    if frames and _takes_more_frames(network):
        numbers = " and ".join(frames)
        axes = ", ".join(map(str, undescribed[:1]))
        reading = when(undescribed, f" (axis {axes}, which nobody describes, is read as frames)")
        clauses.append(
            f"exported (.pt2, .onnx), it takes {numbers} as in the examples, no other number{reading}; written as "
            "weights (.pt, .safetensors) it takes others, as its class does"
        )
    return ("; ".join(clauses),) if clauses else ()


def _takes_more_frames(network: Network) -> bool:
    """Whether the module itself runs on twice as many frames as the examples have. A large one is not run for that."""
    if is_large(network.module):
        return False
    arguments = Arguments.of(network.args, network.kwargs)
    longer = list(arguments.tensors)
    for tensor in network.resolved.input_tensors:
        for word, axis in tensor.free_axes:
            if word == FRAMES:
                longer[tensor.index] = torch.cat([longer[tensor.index]] * 2, axis)
    args, kwargs = arguments.filled(longer)
    try:
        called(copied(network.module), args, kwargs)
    except Exception:  # of whatever the network makes of them
        return False
    return True


def _missing(resolved: ResolvedSpec) -> list[str]:
    """Notes on tensors whose missing joints are stored as 0, where the mirror is affine."""
    notes = list[str]()
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        if tensor.center is not None and tensor.entry.missing == "zero":
            notes.append(
                f"{tensor.where}: joints stored as 0 are missing (missing: zero), and this T would put them at 2 c: "
                "both verdicts are about inputs in which no joint is missing; nothing is proved for others"
            )
    return notes

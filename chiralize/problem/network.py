"""A network made ready for analysis: a copy in eval mode, its examples, its graph if there is one, its mirror."""

from __future__ import annotations

import types
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, ResolvedTensor, resolve
from chiralize.errors import CaptureError, ChiralizeError, ModelRunError, UsageError, first_line
from chiralize.graph import rewrite
from chiralize.graph.copies import copied, is_large, unwrapped
from chiralize.graph.devices import CPU, on, on_cpu
from chiralize.graph.fixed_sizes import fixed_sizes, unhooked
from chiralize.graph.isolation import exclusive
from chiralize.graph.model import CapturedModel
from chiralize.graph.open_sizes import open_batch
from chiralize.graph.passes.centering import Centered, center
from chiralize.graph.regions import collapse
from chiralize.graph.running import Arguments, Around, Call, Runner, placed, random_calls, results, same
from chiralize.graph.snapshot import Change
from chiralize.graph.state import as_buffers, first_answer_and_state
from chiralize.graph.tensors import number_count
from chiralize.infer import macs_of
from chiralize.infer.capture import capture
from chiralize.infer.registry import registry, traits
from chiralize.problem.earlier import EarlierMirror
from chiralize.problem.exporting import answers, called, exported
from chiralize.problem.further import further_mirrors
from chiralize.problem.named_tensors import as_dictionaries, has_tensordict, is_tensordict
from chiralize.problem.readings.arguments import table_wanted
from chiralize.problem.sampling import mean_of, naming_the_mean

if TYPE_CHECKING:
    from chiralize.problem.partial.partial import Partial

_DRAWS = 8
_BEFORE = "_forward_before_entry"
_LAID_OUT = ("pose", "fields")
_OF_DEVICES = ("CUDA", "NVIDIA", "same device", "device_index", "Device index")
ON_THE_CPU = "conversions run on the CPU: use x.device in forward, or export it where it runs and pass the program"


@dataclass(frozen=True)
class Network:
    """A network made ready: the copy that is analysed, its program and graph, its specification.

    module: a copy that may be run and edited freely.  program: the exported program it came from or gave, None where
    it cannot be exported.  captured: its graph at the examples' sizes, None if it has none; `problem` says why.
    entry: the method that is called.  traced: the module is a replay of what the original did on the examples.
    regions: stretches of the graph that are taken as one op, since both views run through them.
    symmetrize: constants that the mirror changes are projected like weights.  unheld: attributes in which forward
    keeps a state that its graph does not hold.  partial: what there is beside it where it is the claimed part of a
    network.  further: other mirrors that the user named, each fitted to the same tensors.  earlier: mirrors that the
    network commutes with already, and that must not be disturbed.  handed_in: the network of the user, where this one
    is that one changed (`--align`).
    """

    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    resolved: ResolvedSpec
    program: ExportedProgram | None = None
    captured: CapturedModel | None = None
    problem: ChiralizeError | None = None
    entry: str = "forward"
    traced: bool = False
    from_program: bool = False
    notes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    symmetrize: bool = False
    unheld: tuple[str, ...] = ()
    partial: Partial | None = None
    further: tuple[tuple[str, ResolvedSpec], ...] = ()
    earlier: tuple[EarlierMirror, ...] = ()
    advice: str = ""
    handed_in: Network | None = None

    @property
    def spec(self) -> ConversionSpec:
        """The specification as the user wrote it."""
        if self.partial is None:
            return self.resolved.spec
        return self.partial.spec

    @property
    def as_given(self) -> Network:
        """The network of the user, which costs are told against."""
        return self.handed_in or self

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes to verify at; a graph refuses those that it was not made for."""
        return (1, 2, 5)

    @property
    def rows(self) -> int:
        """Samples in one call: the size of the batch, where it is the first axis of the inputs, else 1."""
        sizes = {tensor.shape[0] for tensor in self.resolved.input_tensors if tensor.has_rows}
        if self.has_rows and len(sizes) == 1:
            return sizes.pop()
        return 1

    @property
    def parameter_count(self) -> int:
        """How many numbers its parameters hold."""
        return number_count(self.module.parameters())

    @property
    def macs(self) -> int:
        """Multiplications of a call with the examples; 0 where there is no graph to count them on."""
        if self.captured is not None:
            return macs_of(self.captured)
        return 0

    @property
    def has_rows(self) -> bool:
        """Whether the first axis of every input that has samples is the batch."""
        return self.resolved.has_rows

    @property
    def graph_origin(self) -> str:
        """The way to its graph, as messages about sizes name it: `exported`, `traced` or `captured`."""
        if self.from_program:
            return "exported"
        return "traced" if self.traced else "captured"

    @property
    def example(self) -> Call:
        """One call on the example inputs."""
        return tuple(self.args), dict(self.kwargs)

    def open_axes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The open axes of a module's inputs, for `opened`."""
        return open_batch(args, kwargs, batch_axes(self.resolved))

    def graph(self) -> CapturedModel:
        """The captured graph; where the mirror is affine, with inputs and outputs from its centre, so that T is linear.

        Raises the reason why there is none.
        """
        if self.captured is None:
            assert self.problem is not None
            raise self.problem
        return collapse(self._centered.captured if self.resolved.is_affine else self.captured, self.regions)

    def whole_graph(self) -> CapturedModel:
        """The graph without regions: every op for itself. Raises as `graph` does."""
        return replace(self, regions=()).graph()

    @cached_property
    def _centered(self) -> Centered:
        assert self.captured is not None
        return center(self.captured, self.resolved.input_centers, self.resolved.output_centers, traits())

    def answers_vary(self) -> bool:
        """Whether answers change with the random numbers that the network draws; asked of those without a graph."""
        first = answers(self.module, [self.example], 0)
        for seed in range(1, _DRAWS):
            if not all(map(same, first, answers(self.module, [self.example], seed))):
                return True
        return False

    def with_notes(self, *notes: str) -> Network:
        """The network with more notes for the report."""
        return replace(self, notes=(*self.notes, *notes))

    def captured_with(self, tables: Container[str]) -> Network:
        """The network captured again, with these constants (keys of the model) as weights."""
        if self.program is None or self.captured is None:
            return self
        graph = capture(self.program, self.args, self.kwargs, self.captured.notes, tables)
        return replace(self, captured=graph)

    def restored(self, values: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Weights that were found for `graph()`, by name, as weights of the network itself."""
        if self.resolved.is_affine:
            return self._centered.restored(values)
        return values

    def holding(self, values: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, ExportedProgram | None]:
        """The network with other weights, as a module and as its program, which share them."""
        if self.from_program and self.program is not None:
            program = rewrite.program_with_weights(self.program, values)
            return unhooked(program.module()), program
        module = rewrite.with_weights(self.module, values)
        return module, rewrite.program_of(module, self.program) if self.program is not None else None

    def centered(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Inputs of the network as inputs of `graph()`: x - c."""
        return self._moved(tensors, -1)

    def uncentered(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Inputs of `graph()` as inputs of the network: x + c."""
        return self._moved(tensors, 1)

    def _moved(self, tensors: Sequence[torch.Tensor], sign: int) -> list[torch.Tensor]:
        moved = list(tensors)
        for index, (tensor, point) in enumerate(zip(tensors, self.resolved.input_centers, strict=True)):
            if point is not None:
                moved[index] = tensor + sign * torch.from_numpy(point).to(tensor.device, tensor.dtype)
        return moved

    @cached_property
    def around(self) -> Around:
        """Where random inputs are drawn: N(0, 1), about an affine mirror's centre, or near examples if others fail."""
        if self.resolved.is_affine:
            return Around(self.resolved.input_centers, self.resolved.spreads)
        if is_large(self.module) or not self._may_refuse():
            return Around()
        example = Arguments.of(*self.example)
        (drawn,) = random_calls(example, 1, 0)
        with Runner(self.module) as runner:
            if _is_finite(runner, drawn) or not _is_finite(runner, self.example):
                return Around()
            near = Around(near=example.tensors)
            for index in range(len(example.tensors)):
                fewer = Around(near=[*near.near[:index], None, *near.near[index + 1 :]])
                if _is_finite(runner, placed(drawn, fewer)):
                    near = fewer
        examples = [tensor for tensor in near.near if tensor is not None]
        if any(2 * int(tensor.count_nonzero()) <= tensor.numel() for tensor in examples):
            return Around()  # zero times anything is zero
        return near

    def _may_refuse(self) -> bool:
        """Whether some op takes only some numbers, as a logarithm does; without a graph nobody knows."""
        if self.captured is None:
            return True
        rules = (registry().get(node.target) for node in self.captured.nodes)
        return any(rule is None or rule.partial for rule in rules)


def _is_finite(runner: Runner, call: Call) -> bool:
    """Whether a network takes a call, and answers it with finite numbers."""
    try:
        outputs = results(runner.run([call]).steps[0])[0]
    except ModelRunError:  # it looks at the range of what it is given
        return False
    return all(bool(output.isfinite().all()) for output in outputs)


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def prepare(
    model: torch.nn.Module | ExportedProgram,
    spec: ConversionSpec,
    args: Sequence[Any] | torch.Tensor,
    kwargs: Mapping[str, Any] | None = None,
    entry: str = "forward",
) -> Network:
    """The network made ready: copied, run, captured, the specification fitted. args: of one call, or its one tensor.

    Raises UsageError, ModelRunError, SpecError; a failed capture is kept as `problem`.
    """
    if isinstance(args, torch.Tensor) or is_tensordict(args):
        args = (args,)
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise UsageError("example inputs", f"{type(args).__name__} given", "give a tuple of the arguments of one call")
    args, kwargs = _in_dictionaries(model, args, kwargs or {}, spec)
    _check_values(args, kwargs)
    args, kwargs = on(CPU, tuple(args)), on(CPU, dict(kwargs))
    inputs = Arguments.of(args, kwargs).tensors
    if not inputs:
        remedy = "give --input-shape or --example, or in Python torch tensors (torch.from_numpy takes arrays)"
        raise UsageError("example inputs", "there is no tensor among them", remedy)
    module, program = fresh_copy(model)
    _check_weights(module)
    module = entered(module, entry)
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
    network = Network(
        module, args, kwargs, resolved, program, entry=entry, notes=resolved.spec.notices, unheld=unheld, advice=advice
    )
    network = replace(network, further=further)
    network = _with_graph(replace(network, from_program=program is not None))
    return network.with_notes(*_missing(resolved), *_forgotten(unheld))


def _in_dictionaries(
    model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], spec: ConversionSpec
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments with dictionaries in the place of TensorDicts, where the network takes those as well."""
    if not has_tensordict(args, kwargs):
        return args, kwargs
    tables = as_dictionaries(args, kwargs, spec)
    module, _ = fresh_copy(model)
    try:
        called(module, on(CPU, tables[0]), on(CPU, tables[1]), 0.0)
    except Exception:  # of whatever the network makes of them
        return args, kwargs
    return tables


def _with_graph(network: Network) -> Network:
    """The network with its program and its graph, or with the error that says why it has none."""
    module, args, kwargs, program = network.module, network.args, network.kwargs, network.program
    captured, traced, problem = None, None, None
    notes: tuple[str, ...] = ()
    try:
        if program is None:
            program, traced, notes = exported(module, args, kwargs, batch_axes(network.resolved))
        captured = capture(program, args, kwargs, notes)
    except CaptureError as error:
        problem = error
    if traced is not None:
        network = replace(network, module=traced, traced=True)
    elif program is not None and not network.from_program:
        notes += _fixed(program, network.resolved)
    return replace(network, program=program, captured=captured, problem=problem).with_notes(*notes)


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
        others = f", as {len(empty) - 1} more" if len(empty) > 1 else ""
        facts = f"{empty[0]} has no values (meta){others}"
        remedy = "build it outside torch.device('meta'), or load its weights: load_state_dict(..., assign=True)"
        raise UsageError(type(module).__name__, facts, remedy)


def batch_axes(resolved: ResolvedSpec) -> list[tuple[int, ...]]:
    """The axes of every input that are its batch: as its layout says; without one (free, states) those of its size."""
    sizes = {tensor.shape[axis] for tensor in resolved.input_tensors for axis in _batch_by_layout(tensor)}
    axes = list[tuple[int, ...]]()
    for tensor in resolved.input_tensors:
        if tensor.kind in _LAID_OUT:
            axes.append(_batch_by_layout(tensor))
        else:
            axes.append(tuple(axis for axis, size in enumerate(tensor.shape) if size in sizes))
    return axes


def _batch_by_layout(tensor: ResolvedTensor) -> tuple[int, ...]:
    if tensor.kind not in _LAID_OUT:
        return ()
    return tuple(axis for word, axis in tensor.free_axes if word == "b")


def fresh_copy(model: torch.nn.Module | ExportedProgram) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """A copy on the CPU in eval mode, and the program where one is given. Raises UsageError, ModelRunError."""
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
    vars(module)[_BEFORE] = vars(module).get("forward")
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
    """Run it once: shapes of the results, and states in attributes that could not be made buffers."""

    def run(probe: torch.nn.Module) -> tuple[Any, tuple[Change, ...]]:
        """The answer, and the states that the call has changed."""
        return first_answer_and_state(probe, lambda scale: called(probe, args, kwargs, scale))

    try:
        answer, changes = run(copied(module))
        unheld = as_buffers(module, changes)
        if unheld and len(unheld) < len({change.location.attribute for change in changes}):
            unheld = as_buffers(module, run(copied(module))[1])  # beside a state that is held it may be no state
    except (Exception, SystemExit) as error:
        reason = first_line(error)
        if isinstance(error, SystemExit):
            reason = f"it leaves the process (SystemExit: {reason})"
        remedy = "give example inputs that it takes: --input-shape, --example, or example_inputs"
        remedy = table_wanted(module, args) or remedy
        if type(module).forward is torch.nn.Module.forward:
            remedy = mean_of(module) or remedy
        if is_of_devices(reason):
            remedy = ON_THE_CPU
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


def is_of_devices(reason: str) -> bool:
    """Whether a network says that it wants another device."""
    return any(word in reason for word in _OF_DEVICES)


def _forgotten(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (
        f"forward keeps a state in {', '.join(names)}, which is not there before the first call: the proof is of a "
        "first call, later ones were run; register_buffer before that has them proved and written",
    )


def _fixed(program: ExportedProgram, resolved: ResolvedSpec) -> tuple[str, ...]:
    """A note on a program that takes only the batch size of the examples."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    fixed: dict[str, None] = {}
    for name, tensor in zip(program.graph_signature.user_inputs, resolved.input_tensors, strict=False):
        sizes = fixed_sizes(values.get(str(name)))
        if sizes and tensor.has_rows and sizes[0] is not None:
            fixed[str(sizes[0])] = None
    if not fixed or not resolved.has_rows:
        return ()
    if list(fixed) == ["1"]:
        hint = "; examples of two samples may leave it open"
    else:
        hint = ""
    taken = " and ".join(fixed)
    return (f"the network fixes its batch: exported, it takes {taken} as in the examples, no other size{hint}",)


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

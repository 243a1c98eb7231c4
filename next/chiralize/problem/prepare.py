"""From what the user hands in to a `Network`: a copy in eval mode, run once, its graph captured, its T known.

The steps: examples are checked, since whatever is wrong with them is cheap to say; the network is copied and called
once, which gives the sizes of its answers; the specification is fitted to them; then the network is exported with its
batch and its frames open, and the program is read as a graph of ops. A network without a graph is no error: the reason
is in `Network.problem`, and the methods that need no graph go on.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize.body.resolve import Resolved, resolve
from chiralize.body.spec import Spec
from chiralize.errors import CaptureError, Finding, ModelRunError, SpecError, UsageError
from chiralize.errors.words import listed
from chiralize.graph.devices import CPU, on, on_cpu
from chiralize.graph.export import export
from chiralize.graph.run import Arguments, Call, Runner, apart, copied, random_calls, results, same, unwrapped
from chiralize.infer.capture import captured
from chiralize.problem.network import Network, open_axes
from chiralize.problem.trial import arguments_of

_BEFORE = "_chiralize_forward"
"""The attribute that remembers the forward of a module whose entry is another method."""


def prepare(
    module: nn.Module,
    args: Sequence[Any] | Tensor,
    kwargs: Mapping[str, Any] | None,
    spec: Spec,
    *,
    program: ExportedProgram | None = None,
    entry: str = "forward",
) -> Network:
    """Make a network ready for analysis. The user's module is never written to.

    args, kwargs: of one call; a tensor is the only argument.  program: the user's own, which `module` is made of.
    entry: the method that is called in the place of forward.
    Raises UsageError, ModelRunError, and SpecError where the specification does not fit.
    """
    args = (args,) if isinstance(args, Tensor) else args
    _check_examples(args, kwargs or {})
    call: Call = on(CPU, tuple(args)), on(CPU, dict(kwargs or {}))
    net = entered(copy_of(module), entry)
    if not kwargs:  # arguments by name are not confused by their order
        _check_order(spec, net, entry)
    shapes, problem, findings = _called(net, call)
    resolved = resolve(spec, [tuple(tensor.shape) for tensor in Arguments.of(*call).tensors], shapes)
    program = on_cpu(program) if program is not None else None
    network = Network(net, *call, resolved, program, problem=problem, findings=findings, entry=entry)
    return _with_graph(network).with_findings(*_missing(resolved))


def _with_graph(network: Network) -> Network:
    """The network with its program and its graph, or with the error that says why it has none."""
    program, findings = network.program, ()
    fields: dict[str, Any] = {"from_program": program is not None}
    try:
        opaque = getattr(network.module, "opaque", None)  # why there is no graph, of what another library runs
        if isinstance(opaque, str):
            raise CaptureError("the network", opaque, "verify the file that it was made from, for a proof")
        if network.problem is not None:
            raise network.problem
        if program is None:
            program, findings = export(network.module, network.args, network.kwargs, open_axes(network.resolved))
        fields |= {"program": program, "captured": captured(program, network.args, network.kwargs)}
    except CaptureError as error:
        fields |= {"program": program, "problem": error.with_traceback(None)}
    return replace(network, **fields).with_findings(*findings)


# ---- what the user hands in ----------------------------------------------------------------------------------------
def _check_examples(args: Any, kwargs: Mapping[str, Any]) -> None:
    """Raises UsageError for examples that are no arguments, hold no tensor, or have no values."""
    where, remedy = "example inputs", "give the arguments of one call, with torch tensors among them"
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise UsageError(where, f"{type(args).__name__} given", remedy)
    tensors = Arguments.of(args, kwargs).tensors
    if not tensors:
        raise UsageError(where, "there is no tensor among them", remedy)
    if any(tensor.is_meta for tensor in tensors) or not any(tensor.numel() for tensor in tensors):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise UsageError(where, f"they have no values, shape {shapes}", "give at least one sample")


def copy_of(module: nn.Module) -> nn.Module:
    """A copy of a network on the CPU, in eval mode, without wrappers such as DataParallel.

    Raises UsageError for what is no module or has no values, ModelRunError for what cannot be copied.
    """
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise UsageError("model", f"{what} given", "give an instance of torch.nn.Module, or an exported program")
    named = chain(module.named_parameters(), module.named_buffers())
    empty = [name for name, tensor in named if tensor.is_meta]
    if empty:
        facts = f"{listed(empty, 3)} has no values (meta)"
        raise UsageError(type(module).__name__, facts, "load its weights: load_state_dict(..., assign=True)")
    net = on_cpu(copied(unwrapped(module)))
    with suppress(NotImplementedError):  # the module of an exported program has one mode
        net.eval()
    return net


def entered(module: nn.Module, entry: str) -> nn.Module:
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


def without_entry(module: nn.Module) -> nn.Module:
    """Undo `entered`: forward is what it was before, the class's or the module's own."""
    if _BEFORE in vars(module):
        del module.forward
        forward = vars(module).pop(_BEFORE)
        if forward is not None:
            module.forward = forward
    return module


def _check_order(spec: Spec, module: nn.Module, entry: str) -> None:
    """Raises SpecError where inputs have the names of the network's arguments in another order than theirs.

    Tensors go to the arguments in order, so that such names would be those of other tensors.
    """
    names = [str(one.name) for one in spec.inputs or ()]
    taken = [argument.name for argument in arguments_of(module, entry) or ()][: len(names)]
    if names != taken and set(names) == set(taken):
        facts = f"the inputs are described in the order {', '.join(names)}; the network takes {', '.join(taken)}"
        raise SpecError("inputs", facts, "describe them in the order of the arguments")


# ---- the first calls -------------------------------------------------------------------------------------------------
def _called(net: nn.Module, call: Call) -> tuple[list[tuple[int, ...]], CaptureError | None, tuple[Finding, ...]]:
    """Shapes of the answers; why no graph can hold what later calls depend on, if so; and what is to be said.

    Tensors that forward writes to plain attributes, and that have one size, become buffers of `net`: a graph holds
    states in buffers.  Raises ModelRunError.
    """
    where, problem = type(net).__name__, None
    first, later, used = _twice(net, call)
    if not _alike(first, later):
        _hold_in_buffers(net, used)
        if not _alike(*_twice(net, call)[:2]):
            facts = "later calls depend on what forward stores in attributes, which no graph holds"
            remedy = "store it in buffers of one size (register_buffer), or use --method average"
            problem = CaptureError(where, facts, remedy)
    answers = results(first)[0]
    if not answers:
        facts = f"the network returns no tensor that can be found: {type(first).__name__}"
        raise ModelRunError(where, facts, "return tensors, or tuples, lists or dicts of them")
    if any(0 in tensor.shape for tensor in answers):
        raise UsageError("example inputs", "an answer is empty, nothing can be compared", "give at least one sample")
    return [tuple(tensor.shape) for tensor in answers], problem, _constant(net, call)


def _twice(net: nn.Module, call: Call) -> tuple[Any, Any, nn.Module]:
    """The answer of a call, that of a second one for which buffers are put back, and the network after the first."""
    runner = Runner(net)
    used = runner.start()
    with torch.no_grad():
        first = apart(runner.call(used, call))
    for part, before in zip(used.modules(), net.modules(), strict=True):
        for name, buffer in before.named_buffers(recurse=False):
            setattr(part, name, buffer.clone())
    with Runner(used) as again:
        return first, again.run([call]).steps[0], used


def _alike(first: Any, later: Any) -> bool:
    """Whether two answers have the same tensors, bit for bit."""
    ours, others = results(first)[0], results(later)[0]
    return len(ours) == len(others) and all(map(same, ours, others))


def _hold_in_buffers(net: nn.Module, used: nn.Module) -> None:
    """Make buffers, which `state_dict` leaves out, of tensor attributes that hold other numbers after a call."""
    for part, after in zip(net.modules(), used.modules(), strict=True):
        for name, value in list(vars(part).items()):
            now = vars(after).get(name)
            if type(value) is Tensor and type(now) is Tensor and now.shape == value.shape and not same(now, value):
                delattr(part, name)
                part.register_buffer(name, value.detach(), persistent=False)


def _constant(net: nn.Module, call: Call) -> tuple[Finding, ...]:
    """A doubt where answers do not depend on the inputs: such an answer fits every mirror that leaves it alone."""
    arguments = Arguments.of(*call)
    if not any(tensor.is_floating_point() for tensor in arguments.tensors):
        return ()
    try:
        with Runner(net) as runner:
            first, second = (results(runner.run([drawn]).steps[0])[0] for drawn in random_calls(arguments, 2, 0))
    except ModelRunError:  # it looks at the range of what it is given
        return ()
    still = [
        f"output {index}" for index, (one, other) in enumerate(zip(first, second, strict=False)) if same(one, other)
    ]
    if not still:
        return ()
    facts = f"{listed(still, 4)} did not change with the inputs: two random inputs got the same"
    return (Finding("mirror", "doubt", facts, "verdicts say nothing of it", brief="answers that ignore the inputs"),)


def _missing(resolved: Resolved) -> list[Finding]:
    """Notes on tensors whose missing joints are stored as 0, where the mirror is affine."""
    notes: list[Finding] = []
    for tensor in (*resolved.inputs, *resolved.outputs):
        if tensor.center is not None and getattr(tensor.entry, "missing", None) == "zero":
            facts = f"{tensor.where}: joints stored as 0 are missing, and T would put them at 2 c"
            notes.append(Finding("inputs", "note", facts, "verdicts are about inputs in which no joint is missing"))
    return notes

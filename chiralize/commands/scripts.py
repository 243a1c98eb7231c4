"""A conversion of a TorchScript file, written as TorchScript again: with its methods, attributes and further files.

Nothing is written that does not compute what was verified: along a roll-out from its initial state, and, after each of
its methods that takes no arguments, still the same of x and T x.

    average            a new script with both views inside, compiled from text (`nn.deploy.script_views`)
    other methods      a copy of the original's script with the new weights in place of its own

The bytes that are compared are those that are written: they are loaded again first. Methods such as `reset_memory` are
not seen by a conversion, which converts forward. So each is called between calls on x and, in another run, between
calls on T x: f(T x) = T f(x) has to hold after it as well.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chiralize.commands.guard import WEIGHTS_ALONE
from chiralize.commands.records import Conversion
from chiralize.errors import ExportError, ModelRunError, ParityError
from chiralize.errors.words import first_line, when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rewrite import tensors_of
from chiralize.graph.running import Call, Runner, apart, results
from chiralize.nn.deploy.export import example_call
from chiralize.nn.deploy.script_source import INSTEAD
from chiralize.nn.deploy.script_views import ScriptMethods, both_views
from chiralize.nn.two_view import TwoView
from chiralize.problem.network import Network
from chiralize.storage.atomic import write_bytes
from chiralize.storage.load import CERTIFICATE, LoadedModel
from chiralize.storage.parity import PARITY, share_apart
from chiralize.storage.script_writing import in_float64, script_bytes, tensors_in_script, with_values
from chiralize.storage.torchscript import load_script
from chiralize.verification.drift import random_inputs

_CALLS = 8
"""Calls in a row that are compared: the example, and seven random ones."""
_SAME = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Bound on |f(T x) - T f(x)| after one of the methods, in units of the output's scale."""


def write_script(conversion: Conversion, network: Network, loaded: LoadedModel, target: Path) -> Conversion:
    """Write the result as TorchScript; the conversion, with notes on the file.

    network: the original.  loaded: the file that it came from.
    Raises ExportError (TorchScript cannot express it), ParityError (it computes something else), OutputFileError.
    """
    assert conversion.mirror is not None
    is_average = conversion.report.is_average  # not where it was an average before
    left_out: tuple[str, ...] = ()
    # Of an average the code is new and holds both views; of anything else it is the original's with other numbers.
    if is_average:
        assert isinstance(conversion.module, TwoView)
        script, left_out = both_views(loaded.module, conversion.module, network.example)
    else:
        script = _reweighted(conversion, loaded.module, target)
    methods = ScriptMethods.of(loaded.module)
    args, kwargs = example_call(network, is_average)
    extra = {**loaded.extra, CERTIFICATE: conversion.passport.to_json()}
    # Written to memory and read again: what is compared is what a user will load.
    data = script_bytes(script, extra)
    written, texts = load_script(io.BytesIO(data), str(target))
    if texts != extra:
        raise ExportError(str(target), "torch.jit.save did not keep the further files of the original", INSTEAD)
    # A roll-out: states of the script go from one of these calls to the next, in both.
    calls = [(args, dict(kwargs))]
    calls += [conversion.mirror.placed(call) for call in random_inputs(args, kwargs, _CALLS - 1, 11)]
    comparison = _Comparison(written, conversion.module, conversion.mirror, calls, str(target))
    worst, dtype = comparison.along_a_sequence()
    # For methods with arguments nobody knows what to call them with; a note says that they were not tried.
    for name in methods.without_arguments:
        comparison.check_after(name)
    # Only now, when nothing can refuse any more.
    write_bytes(target, data)
    parity = (
        f"TorchScript: at most {worst:.1e} of the output's scale away from what was verified "
        f"(bound {PARITY[dtype]:.0e}, {str(dtype).removeprefix('torch.')}, {_CALLS} calls in a row)"
    )
    notes = (parity, *_of_methods(methods, is_average), *_of_attributes(left_out))
    return replace(conversion, report=replace(conversion.report, notes=(*conversion.report.notes, *notes)))


def why_no_script(conversion: Conversion) -> str:
    """Why TorchScript of the original's code cannot hold a result; "" where it can."""
    form = conversion.report.form
    if conversion.passport.is_average or form in WEIGHTS_ALONE:
        return ""
    return f"the result ({form}) is a graph of its own, a TorchScript file keeps the original's code"


def _reweighted(conversion: Conversion, original: Any, target: Path) -> Any:
    """A copy of the original with the new weights. Raises ExportError where something else changed as well."""
    why = why_no_script(conversion)
    if why:
        raise ExportError(str(target), why, "write a .pt2 or an .onnx, or use --method match or average")
    held = tensors_in_script(original)
    # A constant in the code of forward is no tensor of the module: new values would not reach it.
    lost = [name for name in conversion.report.changes.names if name not in held]
    if lost:
        facts = f"{', '.join(lost[:5])} changed, which is written into the file's code"
        raise ExportError(str(target), facts, "write a .pt2, or use --method average, which changes no weight")
    values: Mapping[str, torch.Tensor] = tensors_of(conversion.module)
    return with_values(original, values)


def _of_methods(methods: ScriptMethods, is_average: bool) -> Sequence[str]:
    """Notes on the methods other than forward."""
    notes: list[str] = []
    tried = methods.without_arguments
    if tried:
        whose = when(is_average, ", each for both views")
        notes.append(f"methods kept{whose}: {', '.join(tried)}; T x and x still get the same answers afterwards")
    untried = [name for name in methods.public if name not in tried]
    if untried:
        notes.append(f"methods kept but not tried, since they take arguments: {', '.join(untried)}")
    helpers = [name for name in methods.helpers if not name.startswith("__")]
    if helpers and is_average:
        names = ", ".join(helpers)
        notes.append(f"methods that only the module's own methods call are those of views.0 and views.1: {names}")
    return notes


def _of_attributes(left_out: Sequence[str]) -> Sequence[str]:
    """A note on attributes that the script of both views has not by itself, but in each view."""
    if not left_out:
        return ()
    return (f"once per view, as views.0 and views.1 of the file: {', '.join(left_out)}",)


@dataclass(frozen=True)
class _Comparison:
    """The file that was written, compared with the result that was verified.

    calls: in a row, the first one is the example. where: the file, for messages.
    """

    written: torch.nn.Module
    verified: torch.nn.Module
    mirror: NetworkMirror
    calls: Sequence[Call]
    where: str

    def along_a_sequence(self) -> tuple[float, torch.dtype]:
        """The largest difference in units of the output's scale, and in which precision. Raises ParityError."""
        try:
            return self._apart(double=True), torch.float64
        except ModelRunError:  # a kind of numbers is written into its code, so that it does not run in float64
            dtype = self._dtype()
            return self._apart(double=False, bound=PARITY[dtype]), dtype

    def _runner(self, double: bool) -> Runner:
        """What runs the written file; `double()` alone does not reach lists of weights in a script."""
        return Runner(in_float64(self.written) if double else self.written, double=double)

    def _dtype(self) -> torch.dtype:
        """The coarsest precision among the first answer's tensors."""
        with Runner(self.written) as runner:
            answer = runner.run(self.calls[:1]).steps[0]
        # Its own precision shows in its answers; the coarsest of them has the widest bound.
        kinds = [tensor.dtype for tensor in results(answer)[0] if tensor.dtype in PARITY]
        return max(kinds, key=PARITY.__getitem__, default=torch.float32)

    def _apart(self, double: bool, bound: float = PARITY[torch.float64]) -> float:
        """The largest difference over all calls, in units of the output's scale. Raises ParityError above the bound."""
        # Both are run along the same calls, each with a state of its own.
        with self._runner(double) as ours, Runner(self.verified, double=double) as theirs:
            pairs = zip(ours.run(self.calls).steps, theirs.run(self.calls).steps, strict=True)
            worst = max(self._largest(one, other) for one, other in pairs)
        # Answers that are not finite are infinitely far apart (`share_apart`): no NaN is lost in a maximum.
        if not worst <= bound:
            facts = f"the TorchScript is {worst:.2g} of the output's scale away from what was verified"
            raise ParityError(self.where, f"{facts}, bound {bound:.0e}", INSTEAD)
        return worst

    def _largest(self, answer: Any, expected: Any) -> float:
        """The largest difference between two answers. Raises ParityError where they have other tensors."""
        ours, theirs = results(answer)[0], results(expected)[0]
        if _shapes(ours) != _shapes(theirs):
            facts = f"the TorchScript returns {_shapes(ours)}, what was verified {_shapes(theirs)}"
            raise ParityError(self.where, facts, INSTEAD)
        return max(map(share_apart, ours, theirs), default=0.0)

    def check_after(self, name: str) -> None:
        """Raises ParityError unless f(T x) = T f(x) in the calls that follow one of a method."""
        try:
            worst, bound = self._residual_after(name, double=True), _SAME[torch.float64]
        except ModelRunError:
            worst, bound = self._residual_after(name, double=False), _SAME.get(self._dtype(), 1e-1)
        if not worst <= bound:
            facts = (
                f"after {name}() answers to x and T x differ by {worst:.2g} of the output's scale, bound {bound:.0e}"
            )
            remedy = f"let {name} put states where T leaves them alone (zero), or use --method average"
            raise ParityError(self.where, facts, remedy)

    def _residual_after(self, name: str, double: bool) -> float:
        """max |f(T x) - T f(x)| along calls with the method in their middle, in units of the output's scale."""
        with self._runner(double) as runner:
            plain = _rolled(runner, self.calls, name)
            turned = _rolled(runner, [self.mirror.turned(call) for call in self.calls], name)
        worst = 0.0
        for one, other in zip(plain, turned, strict=True):
            for index, (answer, of_turned) in enumerate(zip(one, other, strict=True)):
                expected = self.mirror.turned_output(index, answer)
                worst = max(worst, share_apart(of_turned, expected))
        return worst


def _shapes(tensors: Sequence[torch.Tensor]) -> list[tuple[int, ...]]:
    """The sizes of tensors, in their order."""
    return [tuple(tensor.shape) for tensor in tensors]


def _call_method(module: Any, name: str) -> None:
    """Call a method without arguments. Raises ModelRunError for whatever it raises."""
    try:
        getattr(module, name)()
    except Exception as error:
        facts = f"{name}() fails: {first_line(error)}"
        raise ModelRunError("the network", facts, "mend the method, or convert the module without it") from error


def _rolled(runner: Runner, calls: Sequence[Call], name: str) -> list[list[torch.Tensor]]:
    """The answers to calls in a row, of which the first half comes before one of a method."""
    module = runner.start()
    answers: list[list[torch.Tensor]] = []
    with torch.no_grad():
        for number, call in enumerate(calls):
            # States have filled by then, so that a method that resets them does something.
            if number == len(calls) // 2:
                _call_method(module, name)
            answers.append(results(apart(runner.call(module, call)))[0])
    return answers

"""The Python interface: `chiralize` and `verify`.

Each reads the specification, makes the network ready, and runs the command of the same name. The command line does the
same with files. Options are fields of `problem.request`, of which signatures and the command line are made alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Spec
from chiralize.commands import convert as converting
from chiralize.commands import verify as verifying
from chiralize.commands.chirality import Chirality, chirality_of, put_on
from chiralize.commands.finish import example_call
from chiralize.commands.opening import Opened, opened
from chiralize.errors import UsageError, warn_of
from chiralize.graph.devices import device_of, moved
from chiralize.problem.request import Judging, Progress, Request, Source, options_of
from chiralize.report.findings import doubts
from chiralize.report.progress import shown
from chiralize.report.records import VerifyReport
from chiralize.verification.verdicts import Trial

Model = torch.nn.Module | ExportedProgram
SpecLike = str | Path | Mapping[str, Any] | Skeleton | Spec
Function = Callable[..., Any]


def _takes(*records: type[Any]) -> Callable[[Function], Function]:
    """A decorator: in place of `**options`, the signature and the docstring have the options of these records."""

    def decorated(function: Function) -> Function:
        """The function, which is called as before."""
        signature = inspect.signature(function)
        listed = [option for record in records for option in options_of(record) if option.in_python]
        parameters = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters += [_parameter(option.name, option.default, option.hint) for option in listed]
        parameters.append(_parameter("progress", None, "bool | Progress | None"))
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        texts = "".join(f"\n    {option.name}: {option.text}" for option in listed)
        function.__doc__ = (function.__doc__ or "").replace("\n    OPTIONS", texts)
        return function

    return decorated


def _parameter(name: str, default: Any, hint: Any) -> inspect.Parameter:
    """An option of a signature, to be given by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


@_takes(Source, Request)
def chiralize(
    model: Model,
    spec: SpecLike,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    calibration: Any = None,
    **options: Any,
) -> torch.nn.Module:
    """An exactly equivariant network made from a trained one. `model` itself is not touched.

    The result carries its mirror and its report in the attribute `chirality`.

    model: on any device; it is converted on the CPU, and the result comes back to that device.
    spec: a skeleton's name, a file, a dict with the keys of one, a Skeleton or a Spec.
    example_inputs: the arguments of one call; a tensor is the only argument. Left out, they are derived: from what an
    exported program brings, from sizes that the specification fixes, else from the layouts in which poses are stored.
    example_kwargs: the arguments of that call that go by name.
    calibration: unlabelled inputs: an array (samples first), a table or a tuple of them, a DataLoader, or batches. A
    fifth is held out for the figures. For networks with a state: sequences, (sequence, time, ...).
    OPTIONS
    progress: True shows on standard error what is being done, None on a terminal alone. Or a function that is called
    with each step, and with how much of it is done (0 to 1, or None).

    Warns, one topic at a time, of what the report doubts: MirrorWarning, DriftWarning, ... (ChiralizeWarning).
    Raises ChiralizeError: UsageError, SpecError, UnsupportedError, EquivarianceError, DriftError, DegenerateError.
    """
    source, request, wanted = _options(options, Source, Request)
    known = chirality_of(model)
    with shown(wanted) as step:
        step("exporting")
        network = opened(model, spec, example_inputs, example_kwargs, source, known and known.passport, calibration)
        request = replace(request, data=calibration, progress=step)
        passport = known.passport if known is not None and known.spec == network.network.spec else None
        conversion = converting.convert(network.network, network.name, request, passport)
    result = moved(conversion.module, device_of(model))
    example = example_call(network.network, conversion.report.is_average)
    put_on(result, Chirality(conversion.passport, conversion.report, example))
    warn_of(doubts(conversion.report), 2)
    return result


@_takes(Source, Judging)
def verify(
    model: Model,
    spec: SpecLike | None = None,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    calibration: Any = None,
    **options: Any,
) -> VerifyReport:
    """Both verdicts on a network; `.passed`, or `.raise_for_failure()`.

    spec, example_inputs: a result of `chiralize` knows its own.  calibration: inputs to judge on as well.
    OPTIONS
    progress: as `chiralize` takes it.

    Raises UsageError, SpecError, ModelRunError.
    """
    source, judging, wanted = _options(options, Source, Judging)
    known = chirality_of(model)
    if spec is None and known is None:
        raise UsageError("verify", "no skeleton is given, and the model does not know its own", "pass spec='h36m'")
    with shown(wanted) as step:
        step("exporting")
        spec = known.spec if spec is None and known is not None else spec
        network = opened(model, spec, example_inputs, example_kwargs, source, known and known.passport, calibration)
        report = judged(network, replace(judging, data=calibration), step)
    warn_of(doubts(report), 2)
    return report


def judged(network: Opened, judging: Judging, progress: Progress) -> VerifyReport:
    """The verdicts on what was opened, by its passport where that is of the mirror in question."""
    passport = network.passport
    if passport is not None and passport.spec != network.network.spec:
        passport = None
    trial = Trial(tolerance=judging.tolerance)
    trial = trial if judging.samples is None else replace(trial, samples=judging.samples)
    name, data = network.name, judging.data
    return verifying.verify(network.network, name, passport, trial=trial, data=data, progress=progress)


def _options(options: Mapping[str, Any], first: type[Any], second: type[Any]) -> tuple[Any, Any, Any]:
    """The options as records, and what was said of progress. Raises UsageError for names that are none."""
    rest = dict(options)
    wanted = rest.pop("progress", None)
    if not (wanted is None or isinstance(wanted, bool) or callable(wanted)):
        raise UsageError(
            "progress", f"{wanted!r} is not True, False, None or a function", "correct it, or leave it out"
        )
    records = [record(**dict(_taken(rest, record))) for record in (first, second)]
    if rest:
        raise UsageError(f"{next(iter(rest))}=", "there is no such option", "help(chiralize.chiralize) lists them")
    return records[0], records[1], wanted


def _taken(options: dict[str, Any], record: type[Any]) -> Iterator[tuple[str, Any]]:
    """The options that belong to a record, taken out of those given."""
    for option in options_of(record):
        if option.in_python and option.name in options:
            yield option.name, options.pop(option.name)

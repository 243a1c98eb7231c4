"""From the values of the options to a network ready for analysis and its calibration inputs.

Every command that reads a network begins with `open_network`:

    specification    --skeleton, else what the file brings (its passport), else that of the converted network (`bench`)
    load             by what the file is: a program, a script, ONNX, or weights and a class
    example          --input-shape, --example, what the file brings, else sizes that are tried
    before_export    what may be refused of the user's inputs at once: an export takes seconds to minutes
    export           the program, its graph, T on inputs and outputs

`calls_from_file` and `in_batches` make calls of the network out of an array file. Torch is imported inside of the
functions, as everywhere in `cli`: `chiralize --help` has to come without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.cli.options import NetworkOptions, WeightsOptions
from chiralize.cli.typed import command

if TYPE_CHECKING:
    from torch import Tensor

    from chiralize.body.tensors import ConversionSpec
    from chiralize.graph.rollouts import Steps
    from chiralize.graph.running import Call
    from chiralize.problem.data.examples import Examples
    from chiralize.problem.network import Network
    from chiralize.problem.progress import Progress
    from chiralize.storage.load import LoadedModel
    from chiralize.storage.passport import Passport


BeforeExport = Callable[["LoadedModel", "Examples", str], None]
_SMALL = 1 << 26
"""Bytes up to which a file is read once more for being looked at early."""


def nothing(loaded: LoadedModel, examples: Examples, entry: str) -> None:
    """Do nothing."""


def open_network(
    options: NetworkOptions,
    onnx: bool = False,
    spec: ConversionSpec | None = None,
    *,
    read: bool = False,
    samples: Path | None = None,
    like: Network | None = None,
    before_export: BeforeExport = nothing,
    step: Progress | None = None,
) -> tuple[Network, LoadedModel, Passport | None]:
    """Load the file, find its examples and its mirror, capture it. Raises ChiralizeError.

    onnx: an ONNX file will do that is run as it is, although it has no graph that could be captured.  read: one is read
    op by op first; where that cannot be, it is run, or without `onnx` refused.
    spec: the mirror where neither the options nor the file says anything.  samples: calibration inputs, whose sizes
    are tried first.  like: its own result, whose example's sizes are.  before_export: called with the network as it was
    loaded, an example of a call, and its entry; it may raise what need not wait for the export.
    step: called with the steps after the loading.
    """
    from chiralize.body.tensors import load_spec
    from chiralize.errors import UsageError
    from chiralize.problem.data.examples import examples_for
    from chiralize.problem.doubts import with_assumed
    from chiralize.problem.partial import prepare
    from chiralize.problem.progress import silent
    from chiralize.problem.two_samples import prepared_openly
    from chiralize.report.cautions import data_cautions
    from chiralize.storage.load import CERTIFICATE, load_model
    from chiralize.storage.passport import Passport

    step = step or silent
    weights, layouts = options.weights, options.layouts.as_arguments
    given = None
    if options.skeleton:
        given = load_spec(options.skeleton, **layouts)
    # The specification goes along: class arguments that weights leave open are tried until sizes suit it.
    loaded = load_model(
        options.model,
        factory=weights.factory,
        factory_args=_pairs(weights.arg),
        key=weights.key,
        prefix=weights.prefix,
        normalizer=weights.normalizer,
        unsafe_pickle=options.unsafe_pickle,
        onnx=onnx or read,
        command=command(),
        joints=len(given.skeleton.joints) if given is not None else 0,
        describes=partial(_describes, given),
        tell=step,
        before_search=partial(_refuse_undescribed, options, given),
    )
    # From here on: the mirror. What the user says comes before what the file says.
    text = loaded.extra.get(CERTIFICATE)
    passport = Passport.from_json(text, str(options.model)) if text else None
    if given is None:
        brought_along = passport.spec if passport else spec
        if brought_along is None:
            facts = "no skeleton is given, and the file does not bring one"
            remedy = "add --skeleton NAME (see: chiralize skeleton list) or a YAML file"
            raise UsageError(
                str(options.model),
                "; ".join([facts, *(caution.text for caution in data_cautions((*loaded.notes, *_assumed(loaded))))]),
                remedy,
            )
        given = load_spec(brought_along, **layouts)
    spec = given
    # An exported program has one entry; of a module the passport says which method was converted.
    model, entry = loaded.exported or loaded.module, options.entry
    if entry == "forward" and passport and loaded.exported is None:
        entry = passport.entry
    # An example of a call: what the user gives, what the file brings, else what can be derived.
    brought = _brought(loaded, passport)
    # Calibration inputs are read for their sizes only where nothing else tells them.
    brings_none = brought is None and not options.input_shape and options.example is None
    examples = examples_for(
        loaded.module,
        spec,
        str(options.model),
        shapes=options.input_shape,
        example=options.example,
        brought=brought,
        samples=_first_sizes(samples, like) if brings_none else {},
        entry=entry,
        progress=step,
        command=command(),
        arguments=_pairs(weights.arg),
    )
    # Last chance for refusals that need no graph: the export takes seconds to minutes.
    before_export(loaded, examples, entry)
    step("exporting")
    args, kwargs = examples.call
    if loaded.format == "onnx":
        from chiralize.storage.onnx_call import as_declared
        from chiralize.storage.onnx_network import OnnxNetwork
        from chiralize.storage.onnx_reading.checking import check_example

        # The kinds of numbers that the file declares: float64 inputs of a .npz would be refused by a file of float32.
        args = as_declared(model, args)
        if isinstance(loaded.module, OnnxNetwork):
            check_example(loaded.module, args, kwargs)
        # Ops of its own make it a network like others; where some cannot be read it stays a session, for `average`
        # alone.
        if read:
            loaded = _read_back(loaded, args, kwargs, must_be=not onnx)
            model = loaded.module
    # Nobody asked for one sample: two may leave the batch open where one does not (`problem.two_samples`).
    if examples.is_open:
        network = prepared_openly(model, examples.spec, (args, kwargs), entry, step)
    else:
        network = prepare(model, examples.spec, args, kwargs, entry, step)
    if loaded.format == "onnx":
        from chiralize.verification.onnx import with_states

        # Of states the file has recorded T, which inference finds from a graph alone.
        network = with_states(network, loaded.module)
    remark = (examples.remark,) if examples.remark else ()
    # Arguments of the class that nobody gave, and that change its answers: found by running it.
    network = with_assumed(network, loaded, (args, kwargs), entry, step)
    notes = (*remark, *loaded.notes, *network.notes)
    behaviour = replace(network.behaviour, open_sizes=examples.open_axes)
    network = replace(network, notes=notes, behaviour=behaviour)
    return network, loaded, passport.with_spec(spec) if passport else None


def _assumed(loaded: LoadedModel) -> tuple[str, ...]:
    """The warning of the defaults of its class that seem to change answers, before they could be run."""
    from chiralize.storage.assumed import assumed_note

    return assumed_note(tuple(each for each in loaded.doubtful if each.shows))


def _first_sizes(samples: Path | None, like: Network | None) -> dict[str, Tensor]:
    """What has the sizes that are tried first; of a result that takes arguments by name, nothing."""
    from chiralize.problem.data.examples import samples_in, some_samples

    if like is not None and not like.kwargs:
        return samples_in([tuple(like.args)])
    return some_samples(samples)


def _describes(spec: ConversionSpec | None, inputs: int, outputs: int) -> bool:
    """Whether the specification could be of a network from so many numbers to so many; where there is none, it may."""
    from chiralize.body.tensors.resolution import describes

    return spec is None or describes(spec, inputs, outputs)


def _refuse_undescribed(options: NetworkOptions, spec: ConversionSpec | None, target: object) -> None:
    """Raise UsageError where the arguments of a class are described by nothing. target: the class, or a function."""
    from chiralize.problem.readings.refusal import refusal_of_class

    # Whoever gives a call has described the inputs by it.
    if spec is None or options.input_shape or options.example is not None or options.weights.normalizer is not None:
        return
    error = refusal_of_class(target, spec, options.entry, str(options.model), "--input-shape")
    if error is not None:
        raise error


def options_for_result(options: NetworkOptions, result: Path) -> NetworkOptions:
    """The options that open what a conversion wrote.

    Weights belong to the original's class and, where that stands behind a normaliser, to the one written beside them.
    A file that holds its network needs nothing of it.  Raises ModelFileError.
    """
    from chiralize.storage.load import holds_weights
    from chiralize.storage.vec_normalize import normaliser_beside

    if not holds_weights(result):
        return replace(options, model=result, weights=WeightsOptions())
    weights = options.weights
    if weights.normalizer is not None and normaliser_beside(result, weights.normalizer).exists():
        weights = replace(weights, normalizer=normaliser_beside(result, weights.normalizer))
    return replace(options, model=result, weights=weights)


def _read_back(loaded: LoadedModel, args: Sequence[Any], kwargs: Mapping[str, Any], must_be: bool) -> LoadedModel:
    """An ONNX file read op by op, with a note; as it was, with a note, where that cannot be, unless it `must_be`.

    Raises CaptureError.
    """
    from chiralize.errors import CaptureError
    from chiralize.storage.onnx_network import OnnxNetwork
    from chiralize.storage.onnx_reading.checking import read_and_compared

    assert isinstance(loaded.module, OnnxNetwork)
    try:
        module, note = read_and_compared(loaded.module, args, kwargs)
    except CaptureError as error:
        if must_be:
            raise
        loaded.module.opaque = f"{OnnxNetwork.opaque} ({error.where}: {error.facts})"
        note = f"ONNX: not read op by op, so that only the flip average is possible: {error.where}: {error.facts}"
        return replace(loaded, notes=(*loaded.notes, note))
    return replace(loaded, module=module, notes=(*loaded.notes, note))


def _brought(loaded: LoadedModel, passport: Passport | None) -> Call | None:
    """The inputs that a file brings along, or of whose sizes its record tells; None where it does not say."""
    if loaded.example_args is not None:
        return loaded.example_args, dict(loaded.example_kwargs or {})
    if passport is None:
        return None
    return passport.example


def _pairs(texts: Sequence[str]) -> Mapping[str, str]:
    """The arguments of a class by name: `channels=1024`, `encoder.depth=4`. Raises UsageError."""
    from chiralize.errors import UsageError

    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(part.isidentifier() for part in name.split(".")):
            raise UsageError("--arg", f"{text!r} is not name=value", "write for example --arg channels=1024")
        if name in values:
            raise UsageError("--arg", f"{name!r} is given twice", "give every argument once")
        values[name] = value
    return values


def calls_from_file(
    path: Path | None, network: Network, loaded: LoadedModel, axis: int | None = None
) -> tuple[Sequence[Call], Sequence[Steps]]:
    """Inputs in an array file as calls of the network; beside them the sequences, where it takes sequences."""
    if path is None:
        return (), ()
    from chiralize.problem.data.feeds import joined
    from chiralize.problem.data.inputs import calls_from
    from chiralize.problem.data.sequences import sequences_in
    from chiralize.problem.data.shapes import input_names
    from chiralize.problem.stateful import reading_of

    # A file of sequences is one only if the network takes them; else it holds samples.
    names = input_names(loaded.module, network.handover.entry)
    if axis is not None or network.carried:
        sequences = sequences_in(path, reading_of(network, names, axis))
        if sequences:
            return joined(*sequences), sequences
    # Arrays are of what is observed: states of single samples come from the example.
    states = [index for index, representation in enumerate(network.resolved.inputs) if representation is None]
    example, tensors = (network.args, network.kwargs), network.resolved.input_tensors
    return calls_from(path, example, states, names, open_axes=network.behaviour.open_sizes, tensors=tensors), ()


def refuse_unfit(path: Path | None, axis: int | None = None, *, few: bool = False) -> BeforeExport:
    """What raises DataFileError before an export where a file does not fit the network, since an export takes time.

    few: also where it holds too few inputs to hold some out.  Large files that are not mapped are looked at later,
    since reading them twice takes time.
    """

    def refuse(loaded: LoadedModel, examples: Examples, entry: str) -> None:
        """Cut the file, and count the samples as the conversion will."""
        from chiralize.body.tensors.claims import sized
        from chiralize.problem.data.checks import LEAST, refuse_few
        from chiralize.problem.data.examples import some_samples
        from chiralize.problem.preparation import described

        if path is None or loaded.format == "onnx" or (path.suffix != ".npy" and path.stat().st_size > _SMALL):
            return
        network = described(loaded.exported or loaded.module, sized(examples.spec), *examples.call, entry)
        network = replace(network, behaviour=replace(network.behaviour, open_sizes=examples.open_axes))
        calls = calls_from_file(path, network, loaded, axis)[0]
        if few and all(len(array) < LEAST for array in some_samples(path).values()):
            refuse_few(network, calls)

    return refuse


def on_samples(network: Network, calls: Sequence[Call], sequences: Sequence[Steps]) -> tuple[str, ...]:
    """A note where a network that carries states gets samples instead of sequences."""
    from chiralize.problem.stateful import SAMPLES_ALONE

    if calls and not sequences and network.carried:
        return (SAMPLES_ALONE,)
    return ()


def with_remarks(network: Network, calls: Sequence[Call]) -> Network:
    """The network with notes on how the arrays of a file were taken."""
    from chiralize.problem.data.feeds import CallsOfArrays

    return network.with_notes(*calls.remarks) if isinstance(calls, CallsOfArrays) else network


def in_batches(network: Network, loaded: LoadedModel, calls: Sequence[Call]) -> tuple[Network, Sequence[Call]]:
    """Single calibration samples put together in batches, and the network captured at that size.

    Both as they are where the samples are few, or where the larger program would refuse the examples: one of a single
    sample is what the user has, and what the result must take.
    """
    from chiralize.errors import ChiralizeError
    from chiralize.graph.open_sizes import agrees
    from chiralize.problem.cost import samples_of_a_batch
    from chiralize.problem.data.cutting import in_common, taken_larger
    from chiralize.problem.data.feeds import grouped, mapped
    from chiralize.problem.data.inputs import stacked
    from chiralize.problem.partial import entry_of, prepare

    network = with_remarks(network, calls)
    rows = samples_of_a_batch(network)
    if len(calls) < 2 * rows or not network.has_rows or network.rows != 1:
        return network, calls
    model = loaded.exported or loaded.module
    for common in in_common(network, calls):
        batches = mapped(partial(stacked, common=common), grouped(calls, rows))
        # The program may have an open batch; then nothing has to be exported again.
        larger = taken_larger(network, batches[0])
        if larger is not None:
            return larger, batches
        with suppress(ChiralizeError):  # the program takes one size only
            larger = prepare(model, network.spec, *batches[0], entry_of(network))
            # A trace at many samples may have left a branch out that one sample takes (`squeeze`).
            if larger.program is None or agrees(larger.program.module(), network.module, network.example):
                behaviour = replace(larger.behaviour, constant=network.behaviour.constant)
                return replace(larger, notes=network.notes, behaviour=behaviour), batches
    return network, calls

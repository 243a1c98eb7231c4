"""The methods: one network with symmetric weights, or two views of it; of some there are several to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import UnsupportedError
from chiralize.graph import rewrite
from chiralize.graph.copies import give_back, is_large
from chiralize.graph.open_sizes import opened
from chiralize.infer import random_numbers
from chiralize.infer.capture import capture
from chiralize.infer.hidden.activations import activation_scores
from chiralize.infer.hidden.assign import Chooser
from chiralize.infer.hidden.impose import Imposed
from chiralize.infer.hidden.match import FromActivations, FromWeights
from chiralize.infer.records import RepMap, Space
from chiralize.methods import averaging
from chiralize.methods.reduce import reduce
from chiralize.methods.statistics import refuse_changed_statistics
from chiralize.methods.symmetric_norms import normalised
from chiralize.nn.two_view import TwoView
from chiralize.problem.data.batches import as_captured, tensors
from chiralize.problem.mirror import analyse, exchanged_weights, hidden_representations, tables_of, with_tables
from chiralize.problem.network import Subject
from chiralize.problem.request import Options
from chiralize.problem.result import Converted
from chiralize.symmetry.symbolic import evaluate

_OTHERS = {
    "match": "pairs of similar units lose much of what tells left from right: imposed ones, as of project, were taken",
    "project": "imposed pairs lose much of what tells left from right: pairs of similar units, as of match, were taken",
}
Candidate = tuple[Converted, ExportedProgram | None, RepMap | None]


def candidates(subject: Subject, method: str, options: Options) -> Iterator[Candidate]:
    """What to choose from: for `match` with fixed points and in pairs only, for `project` the pairs that it imposes and
    other guesses; for both, where nobody named pairs, those of the other; for `reduce` pairs and, where that promises
    to be better, mixed. Which is better is measured.

    Each is made when it is asked for: a large network has no room for two. There pairs come first, which keep more of
    what is odd.
    """
    width = 0.5 if options.width is None else options.width
    if method == "lift" or (method == "reduce" and width == 1):
        yield lifted(subject), None, None
        return
    try:
        ready = normalised(subject, options, method)
        ways = reduce.reduced(ready, options, width) if method == "reduce" else _symmetric(ready, method, options)
        for candidate in ways:
            refuse_changed_statistics(candidate[0], subject, options)
            yield candidate
    except UnsupportedError as error:
        if options.on_blocked != "lift":
            raise
        note = f"lifted as a whole: {error.where}: {error.facts}"
        yield lifted(replace(subject, notes=(*subject.notes, note))), None, None


def _symmetric(subject: Subject, method: str, options: Options) -> Iterator[Candidate]:
    """`match` or `project`."""
    subject = _with_activation(subject)
    if options.symmetrize_constants:  # never while it is judged
        subject = with_tables(replace(subject, symmetrize=True))
    ways = (_matched, _imposed) if method == "match" else (_imposed, _matched)
    yield from ways[0](subject, options)
    if not subject.resolved.spec.hidden.is_named:
        for result, program, repmap in ways[1](subject, replace(options, calibration=())):
            yield replace(result, method=method, notes=(*result.notes, _OTHERS[method])), program, repmap


def _imposed(subject: Subject, options: Options) -> Iterator[Candidate]:
    """In the pairs that the specification names, or in guesses."""
    spec = subject.resolved.spec
    for hidden in spec.hidden.alternatives:
        yield _unblocked(subject, True, options, replace(spec, hidden=hidden))


def _matched(subject: Subject, options: Options) -> Iterator[Candidate]:
    """In pairs of units that resemble each other's mirror image, with fixed points and without."""
    for fixed in (False, True) if is_large(subject.module) else (True, False):
        yield _refitted(subject, fixed, options)


def _refitted(subject: Subject, fixed_points: bool, options: Options) -> Candidate:
    """Refitted where there are inputs to fit on, unless that cannot be."""
    if not options.calibration:
        return _unblocked(subject, fixed_points, options)
    try:
        return reduce.rematched(subject, options, fixed_points)
    except UnsupportedError as error:
        notes = (*subject.notes, f"weights projected, not refitted: {error.where}: {error.facts}")
        return _unblocked(replace(subject, notes=notes), fixed_points, options)


def _unblocked(
    subject: Subject, fixed_points: bool, options: Options, imposed: ConversionSpec | None = None
) -> Candidate:
    """Folded; where an op refuses and that is asked for, with both views round a stretch that holds it.

    imposed: `project` by what this says of hidden spaces; None is `match`.
    """
    while True:
        chooser: Chooser = _matcher(subject, options, fixed_points)
        if imposed is not None:
            chooser = Imposed(imposed, chooser)
        try:
            return _fold(subject, "match" if imposed is None else "project", chooser)
        except UnsupportedError as error:
            if options.on_blocked != "average":
                raise
            subject = averaging.with_region(subject, error)


def _fold(subject: Subject, method: str, chooser: Chooser) -> Candidate:
    """The same graph with symmetric weights; both views round the stretches that are taken as one op."""
    captured = subject.graph()
    repmap, choices = analyse(subject, chooser)
    give_back()
    held = (*captured.weights, *captured.states, *(captured.leaves[name] for name in repmap.symmetrized))
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in held}
    values, moved = rewrite.symmetric_weights(captured, concrete, repmap.partners)
    values = subject.restored(values)
    if subject.regions:
        module, program = averaging.averaged(subject, repmap, values), None
    else:
        module, program = subject.holding(values)
    hidden, exchanged = hidden_representations(captured, repmap), exchanged_weights(captured, repmap)
    matrices = [leaf for leaf in captured.weights if leaf.tensor.ndim > 1 and leaf.name not in repmap.partners]
    lost = sum(concrete[leaf.name].zero_slices() for leaf in matrices if leaf.kind == "parameter")
    result = Converted(
        module, method, "folded", choices, moved, hidden, exchanged, notes=subject.notes, lost=lost,
        tables=tables_of(subject, repmap),
    )  # fmt: skip
    return averaging.described(result, subject, repmap) if subject.regions else result, program, repmap


def _with_activation(subject: Subject) -> Subject:
    """The network with tanh in place of its activations, if the specification asks for it."""
    if subject.resolved.spec.activation != "tanh":
        return subject
    notes, program = subject.notes, subject.program
    module, count = rewrite.with_tanh(subject.module)
    if program is not None:
        if not subject.from_program:
            axes = subject.open_axes(subject.args, subject.kwargs)
            program = opened(module, subject.args, subject.kwargs, axes)
        program, functional = rewrite.program_with_tanh(program)
        count += functional
        if functional and not subject.from_program:
            notes = (*notes, "activations were called as functions: the result is a graph module")
            subject = replace(subject, from_program=True)
        module = program.module() if subject.from_program else module
    graph = capture(program, subject.args, subject.kwargs) if program is not None else subject.captured
    notes = (*notes, f"{count} activations replaced by tanh")
    return replace(subject, module=module, program=program, captured=graph, notes=notes)


def _matcher(subject: Subject, options: Options, fixed_points: bool) -> Chooser:
    """By activations where inputs are given, else by weights."""
    weights = FromWeights(subject.graph(), fixed_points)
    if not options.inputs:
        return weights

    def choose(spaces: Sequence[Space], repmap: RepMap) -> Any:
        batches = (subject.centered(tensors(call)) for call in as_captured(subject, options.seen))
        scores = activation_scores(subject.graph(), repmap, spaces, subject.resolved.inputs, batches)
        return FromActivations(scores, weights, fixed_points)(spaces, repmap)

    return choose


def lifted(subject: Subject) -> Converted:
    """Both views of the network as one module. Raises NoRuleError where it draws random numbers."""
    for node in subject.captured.drawing if subject.captured else ():
        raise random_numbers(node)
    if subject.captured is None and subject.answers_vary():
        raise random_numbers(None, type(subject.module).__name__)
    own_buffers = bool(subject.captured.mutations or subject.unheld) if subject.captured else True
    resolved = subject.resolved
    centers = resolved.input_centers, resolved.output_centers
    own = rewrite.with_weights(subject.module, {}) if is_large(subject.module) else subject.module
    example = subject.args, dict(subject.kwargs)
    module = TwoView(own, resolved.inputs, resolved.outputs, own_buffers=own_buffers, centers=centers, example=example)
    module.training = False  # a program's module refuses eval(); it is in that mode already
    states = [own.where for own in resolved.input_tensors if own.representation is None]
    notes = tuple(f"{where}: the states of both views, twice as large on its last axis" for where in states)
    if own_buffers and subject.captured:
        names = [subject.captured.leaves[leaf].names[0] for leaf in subject.captured.mutations]
        names += subject.unheld
        notes += (f"states kept once per view: {', '.join(names)}",)
    return Converted(module, "lift", "two-view", notes=(*subject.notes, *notes))

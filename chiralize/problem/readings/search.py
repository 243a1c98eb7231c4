"""The search for example inputs: sizes that the network takes, and for which its answers have a reading too.

A *reading* is a set of sizes, one for every input, together with what each of their axes means.  `derive` asks for one
where the user gives no examples, with the specification and the usual layouts of poses (`templates`); the refusals
that come of a failed search are worded in `refusal`.

The candidates of a lifter of 17 joints begin so; the first that runs, and whose answer is a pose too, is taken:

    b j d      1,17,2        b t j d    1,t,17,2      b (j d)    1,34
    b j d      1,17,3        b t j d    1,t,17,3      b (j d)    1,51

For each candidate with an open number of frames `t`, `frames` finds the number by running the network on several.
Runs are on fake tensors where these will do (`trial`); the one reading that is taken is confirmed on real ones.
Decision 0036 has the reasons for the order of the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, product

from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, TensorEntry, resolve
from chiralize.body.tensors.guess import fitting
from chiralize.errors import AmbiguousLayoutError, SpecError
from chiralize.errors.words import when
from chiralize.graph.time_limit import TimeLimit
from chiralize.problem.progress import Progress, silent
from chiralize.problem.readings.arguments import Arranged
from chiralize.problem.readings.blindness import treats_joints_alike
from chiralize.problem.readings.frames import FRAMES, Contradiction, Fits, Frames, frames_of, so_many
from chiralize.problem.readings.offered import by_input, frames_in, of_shape, shape_of_one
from chiralize.problem.readings.order import order_of, samples_of_inputs, ways_of, ways_that_fit
from chiralize.problem.readings.reading import Obstacles, Reading, Refused
from chiralize.problem.readings.templates import FRAMES as OF_FRAMES
from chiralize.problem.readings.templates import Template, templates_of
from chiralize.problem.readings.trial import Shape, Shapes, Trial
from chiralize.problem.readings.weights import has_table_of, widths_of_vectors

_SECONDS = 60.0
"""Processor time after which a search ends."""


class _TimeIsOver(Exception):  # noqa: N818 - a signal to the search itself, no error
    """The search has used its time, and sizes are left."""


@dataclass
class Search:
    """Tries readings of the inputs in their order, and keeps the first that has a reading of all tensors.

    samples: inputs that the user has by name, "sample ..." each.  arguments: with which the user made the network, by
    name.  takes_several: whether sizes with several readings will do.  as_offered_alone: whether no other sizes than
    those of the samples are tried where each input has some.  most: combinations of sizes of several inputs that are
    tried.  limit: of the processor time, after which nothing further is tried.
    obstacles: what it met, which is of interest where there is no reading.
    """

    trial: Trial
    spec: ConversionSpec
    arrangements: Sequence[Arranged]
    progress: Progress = silent
    samples: Mapping[str, Tensor] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)
    takes_several: bool = False
    as_offered_alone: bool = False
    most: int = 4000
    limit: TimeLimit = field(default_factory=lambda: TimeLimit(_SECONDS))
    obstacles: Obstacles = field(default_factory=Obstacles)

    @property
    def offered(self) -> list[Shape]:
        """The sizes of one of the user's own samples, of every input; of sequences those of one call.

        (200, 3, 60, 72) of a network with states is 200 sequences of 3 calls, each of (60, 72).
        """
        sizes = [tuple(tensor.shape[1:]) for tensor in self.samples.values()]
        if any(entry.kind == "state" for entry in self.spec.inputs or ()):
            sizes += [tuple(tensor.shape[2:]) for tensor in self.samples.values() if tensor.ndim > 2]
        return sizes

    @property
    def module(self) -> nn.Module:
        """The network that is tried."""
        return self.trial.module

    @property
    def _is_over(self) -> bool:
        """Whether the search has used its time, once something was tried."""
        return self.obstacles.tried > 0 and self.limit.is_over

    def first(self) -> Reading | None:
        """The first reading that holds; None where none does, or where it is not the only one in a way that matters."""
        reading = self._first()
        nothing_ran = (
            reading is None
            and not self.obstacles.refused
            and self.obstacles.contradiction is None
            and not self.obstacles.open_inputs
        )
        # Fake tensors refuse calls that need numbers (`.item()`, numpy). A network that ran in no size at all may be
        # one of these, so that the refusals say nothing about sizes.
        if nothing_ran and not self._is_over and self.trial.restart_on_real_tensors():
            return self._first()
        return reading

    def first_by_order(self) -> Reading | None:
        """The first sizes that have several readings, as the network's own answers choose; None where they do not."""
        if self.obstacles.ambiguous is None or self.obstacles.contradiction is not None or self.obstacles.open_inputs:
            return None
        # The same search again: this time `_read` accepts sizes with several readings, and lists these as `ways`.
        # The notes of the first run are cleared since `fits` counts the ambiguous sizes of its own run.
        self.takes_several = True
        self.limit.restart()
        self.obstacles.refused.clear()
        reading = self._first()
        if reading is None:
            return None
        answers = self.trial.answers(reading.shapes, reading.arranged) or []
        samples = samples_of_inputs(self._samples_for(reading.arranged), reading.shapes)
        order = order_of(self.trial, reading.arranged, reading.ways, reading.shapes, answers, samples)
        if order is None:
            self.obstacles.left, _ = ways_that_fit(reading.ways, reading.shapes, answers, samples)
            return None
        reason = f"{reading.reason}; {order.reason}" if reading.reason else order.reason
        return replace(reading, spec=order.spec, resolved=order.resolved, reason=reason)

    def _first(self) -> Reading | None:
        """The first reading over all ways to call the network; None as of `first`. What was met is noted."""
        try:
            for arranged in self.arrangements:
                options = self._options(arranged)
                others = self._in_order(arranged, options)
                if self.as_offered_alone and None not in by_input(self.samples, arranged, self.module):
                    others = iter(())
                # Both are generators that run the network: nothing is tried beyond the first reading.
                for reading in chain(self._as_offered(arranged, options), others):
                    self._note_open(reading, options)
                    return None if self.obstacles.open_inputs else reading
                # Two numbers of frames fit. The user has to say which, so that no other way to call it is tried.
                if self.obstacles.contradiction is not None:
                    return None
        except _TimeIsOver:
            self.obstacles.is_cut_off = True
        return None

    def _as_offered(self, arranged: Arranged, options: Sequence[Sequence[Template]]) -> Iterator[Reading]:
        """Readings that hold of the sizes of the user's own arrays, where there is one for every input."""
        arrays = by_input(self.samples, arranged, self.module)
        shapes = tuple(shape_of_one(array) for array in arrays if array is not None)
        if not shapes or len(shapes) < len(arranged.entries):
            return
        choices: list[list[Template]] = []
        for entry, templates, shape in zip(arranged.entries, options, shapes, strict=True):
            # An array in no usual layout is tried as it is: `resolve` decides whether its sizes have a meaning.
            choices.append(of_shape(templates, shape, self._widths(templates)) or [Template(shape, entry)])
        frames = next(filter(None, map(frames_in, options, shapes)), 0)
        of_inputs = list(chain(*options))
        says = when(frames, _as_in_arrays(frames, _counted(of_inputs)))
        for combination in product(*choices):
            reading = self._read(arranged, self._specs(arranged, combination), shapes)
            if reading is not None and self._holds(reading):
                yield replace(reading, reason=says, is_offered=True)

    def _in_order(self, arranged: Arranged, options: Sequence[Sequence[Template]]) -> Iterator[Reading]:
        """Readings that hold, of all sizes that inputs may have; none after a contradiction."""
        combinations = list(islice(_combinations(options, arranged.entries), self.most))
        combinations.sort(key=self._is_unlike_offered)  # stable: else in the order in which they come
        for combination in combinations:
            reading = self._of(arranged, combination)
            if self.obstacles.contradiction is not None:  # `_of` notes it and gives no reading
                return
            if reading is not None and self._holds(reading):
                yield reading

    def _holds(self, reading: Reading) -> bool:
        """Whether the network takes real numbers of these sizes, and treats joints differently.

        A network with a table of joints does so by design, whatever the table holds: before training that may be zeros.
        """
        if not self.trial.confirms(reading.shapes, reading.arranged):
            return False
        tensors = reading.resolved.input_tensors, reading.resolved.output_tensors
        knows_joints = has_table_of(self.module, len(self.spec.skeleton.joints))
        if not knows_joints and treats_joints_alike(self.trial, reading.arranged, *tensors):
            self.obstacles.alike.append(reading.shapes)
            return False
        return True

    def _samples_for(self, arranged: Arranged) -> list[Tensor]:
        """The user's samples, in the order of the inputs where each has some, else as they come."""
        arrays = [array for array in by_input(self.samples, arranged, self.module) if array is not None]
        return arrays if len(arrays) == len(arranged.entries) else list(self.samples.values())

    def _options(self, arranged: Arranged) -> list[list[Template]]:
        """The templates of every input, those of one input in a list, the likeliest first."""
        skeleton, entries = self.spec.skeleton, arranged.entries
        return [templates_of(entry, skeleton, self.module, entries) for entry in entries]

    def _of(self, arranged: Arranged, combination: Sequence[Template]) -> Reading | None:
        """The reading of one combination of sizes, at the number of frames that the network takes.

        combination: a template for every input.  None where it takes no number, or two that contradict each other.
        """
        specs = self._specs(arranged, combination)
        # Without an open axis the sizes are complete; `at` ignores the number then.
        if not any(template.has_frames for template in combination):
            return self._read(arranged, specs, tuple(template.at(0) for template in combination))

        def shapes(count: int) -> Shapes:
            """The sizes of all inputs for so many frames."""
            return tuple(template.at(count) for template in combination)

        def fits(count: int) -> bool:
            """Whether the network takes so many frames; no more are tried where some were ambiguous twice."""
            # A Linear(34, ...) takes b j t = 1,17,34 as well: its 34 are the numbers of one pose, and no frames.
            if count in refused_counts:
                return False
            # Two ambiguous numbers of frames: the layout is ambiguous, whatever their number. More runs are wasted.
            if not self.takes_several and len(self.obstacles.ambiguous_among(map(shapes, tried))) > 1:
                return False
            tried.append(count)
            return self._read(arranged, specs, shapes(count)) is not None

        refused_counts = self._widths(combination)
        tried: list[int] = []
        # What the user's arrays have comes before what the network says of itself.
        frames = self._frames_offered(combination, fits) or frames_of(
            self.module,
            fits,
            self._other_sizes(combination),
            self._is_recogniser(),
            _counted(combination),
            self.arguments,
        )
        if isinstance(frames, Contradiction):
            self.obstacles.contradiction = (frames, shapes(frames.counts[0]), shapes(frames.counts[1]))
            return None
        if not isinstance(frames, Frames):
            return None
        reading = self._read(arranged, specs, shapes(frames.count))
        if reading is None:
            return None
        return replace(reading, reason=frames.reason, counted=_word(combination))

    def _is_unlike_offered(self, combination: Sequence[Template]) -> bool:
        """Whether the user's own samples have other sizes, whatever the number of frames."""
        return not any(self._is_offered(combination, count) for count in (0, *self._counts_offered()))

    def _counts_offered(self) -> list[int]:
        """Every size of the user's own samples, the largest first: one of them may be the number of frames."""
        counts = set[int]()
        for sample in self.offered:
            counts.update(sample)
        return sorted(counts, reverse=True)

    def _is_offered(self, combination: Sequence[Template], count: int) -> bool:
        """Whether the user's own samples have these sizes, at so many frames."""
        return all(template.at(count)[1:] in self.offered for template in combination)

    def _frames_offered(self, combination: Sequence[Template], fits: Fits) -> Frames | None:
        """The number of frames of the user's own samples, where the network takes it."""
        with_frames = [template for template in combination if template.has_frames]
        for count in self._counts_offered():
            if self._is_offered(with_frames, count) and fits(count):
                return Frames(count, _as_in_arrays(count, _counted(combination)))
        return None

    def _specs(self, arranged: Arranged, combination: Sequence[Template]) -> list[ConversionSpec]:
        """The specifications under which sizes are read: first as it is, then with the layouts that are written axis
        by axis.

        The second is used where sizes fit several layouts. Two people beside three coordinates would else also be
        two coordinates of three frames. An axis of joints and coordinates together has no such layout: sizes do not
        determine its order, and no order is guessed.
        """
        entries = tuple(template.entry for template in combination)
        # A template may describe its entry further, with a confidence among the coordinates.
        specs = [self.spec if entries == arranged.entries else replace(self.spec, inputs=entries)]
        laid_out: list[TensorEntry] = []
        for template in combination:
            is_open = template.entry.kind == "pose" and template.entry.layout is None and template.layout is not None
            laid_out.append(replace(template.entry, layout=str(template.layout)) if is_open else template.entry)
        if tuple(laid_out) == entries:
            return specs
        return [*specs, replace(self.spec, inputs=tuple(laid_out))]

    def _read(self, arranged: Arranged, specs: Sequence[ConversionSpec], shapes: Shapes) -> Reading | None:
        """The reading of these sizes; None where the network does not run, or where some tensor has none."""
        if self._is_over:
            raise _TimeIsOver
        self.progress(
            f"trying input sizes, {self.obstacles.tried} tried" if self.obstacles.tried else "trying input sizes"
        )
        self.obstacles.tried += 1
        answers = self.trial.answers(shapes, arranged)
        # An empty answer has no entry to compare. `x[:, 9:]` gives one where frames are too few.
        if not answers or any(0 in shape for shape in answers):
            return None
        errors: list[SpecError] = []
        for spec in specs:
            try:
                resolved = resolve(spec, shapes, answers)
                if not _states_return(resolved):
                    return None
                return Reading(shapes, arranged, spec, resolved)
            except SpecError as error:
                errors.append(error)
                # The second specification says more about the layout. That helps against several readings alone.
                if not isinstance(error, AmbiguousLayoutError):
                    break
        error = self._beyond(errors[0], specs[0], shapes, answers)
        self.obstacles.note(Refused(shapes, arranged, tuple(answers), error))
        ways = ways_of(specs[0], shapes, answers) if self.takes_several else []
        if len(ways) < 2 or not isinstance(error, AmbiguousLayoutError):
            return None
        return Reading(shapes, arranged, ways[0], resolve(ways[0], shapes, answers), ways=tuple(ways))

    def _beyond(self, error: SpecError, spec: ConversionSpec, shapes: Shapes, answers: Sequence[Shape]) -> SpecError:
        """The error itself. Where inputs have several readings, that of answers which have none with any of them.

        Inputs are read before outputs, so that an open order of the inputs hides answers that are no poses at all. To
        say the order would not help then: inputs are laid out in one of their orders, and the answers' error is taken.
        """
        if not isinstance(error, AmbiguousLayoutError) or ways_of(spec, shapes, answers):
            return error
        laid_out: list[TensorEntry] = []
        for entry, shape in zip(spec.inputs or [TensorEntry()] * len(shapes), shapes, strict=True):
            poses = fitting(shape, entry.body(spec.skeleton), entry.override.dims is not None, "input")
            is_open = entry.kind == "pose" and entry.layout is None and poses
            laid_out.append(replace(entry, layout=str(poses[0].layout)) if is_open else entry)
        try:
            resolve(replace(spec, inputs=tuple(laid_out)), shapes, answers)
        except SpecError as refusal:
            return refusal
        return error

    def _widths(self, combination: Sequence[Template]) -> set[int]:
        """Lengths of last axes that are no frames: what layers read there is the width of a flat input."""
        ends_with_frames = any(template.ends_with_frames for template in combination)
        if ends_with_frames:
            return widths_of_vectors(self.module)
        return set()

    def _other_sizes(self, combination: Sequence[Template]) -> set[int]:
        """Lengths of axes that are joints, coordinates or both, and no frames."""
        joints, dims = len(self.spec.skeleton.joints), len(self.spec.skeleton.dims)
        sizes = {joints, *(joints * count for count in range(1, dims + 2))}  # one more than dims: a confidence
        for template in combination:
            sizes.update(size for size in template.sizes if isinstance(size, int))
        return sizes

    def _is_recogniser(self) -> bool:
        """Whether the user describes answers that the mirror leaves alone or takes to other classes."""
        kinds = [entry.kind for entry in self.spec.outputs or ()]
        return self.spec.invariant or any(kind in ("classes", "invariant") for kind in kinds)

    def _note_open(self, reading: Reading, options: Sequence[Sequence[Template]]) -> None:
        """Note inputs without a body for which other sizes work as well, so that nothing determines the size.

        The user's own samples do, where they have the size that was found.
        """
        entries = reading.arranged.entries
        for index, (entry, templates) in enumerate(zip(entries, options, strict=True)):
            if entry.kind not in ("free", "invariant", "classes") or reading.shapes[index][1:] in self.offered:
                continue
            # A factor of a pose may be one number for all (1,1), or one for every joint: T does not depend on that,
            # what the network computes does. The other inputs keep their sizes.
            fitting: dict[Shape, None] = {}
            for template in templates:
                shape = template.at(0)
                shapes = (*reading.shapes[:index], shape, *reading.shapes[index + 1 :])
                if self._read(reading.arranged, [reading.spec], shapes) is not None:
                    fitting[shape] = None
            if len(fitting) > 1:
                self.obstacles.nearest = reading
                self.obstacles.open_inputs[index] = tuple(fitting)


def _as_in_arrays(count: int, counted: str = FRAMES) -> str:
    """The reason for a number of frames that the user's arrays have."""
    return f"{so_many(count, counted)}, as in the calibration inputs"


def _counted(combination: Sequence[Template]) -> str:
    """What the open axis counts: frames, unless a layout has another word for it."""
    word = _word(combination)
    return FRAMES if word == OF_FRAMES else f"`{word}`"


def _word(combination: Sequence[Template]) -> str:
    """The word of the open axis; that of frames where several have one."""
    words = {template.word for template in combination if template.has_frames}
    return words.pop() if len(words) == 1 else OF_FRAMES


def _combinations(
    options: Sequence[Sequence[Template]], entries: Sequence[TensorEntry]
) -> Iterator[tuple[Template, ...]]:
    """One template for every input, those that come first before others; `like` ones are as what they are like."""
    targets = {index: _target(entry, entries) for index, entry in enumerate(entries) if entry.kind == "like"}
    if None in targets.values():  # like an output, whose size is not known before the network runs
        return
    chosen_freely = [index for index in range(len(entries)) if index not in targets]
    # The last input varies fastest. `_target` is never a `like` itself, so that its template is known by then.
    for chosen in product(*(options[index] for index in chosen_freely)):
        templates = dict(zip(chosen_freely, chosen, strict=True))
        for index, target in targets.items():
            templates[index] = replace(templates[target], entry=entries[index])  # type: ignore[index]
        yield tuple(templates[index] for index in range(len(entries)))


def _target(entry: TensorEntry, entries: Sequence[TensorEntry]) -> int | None:
    """The input that an input is like; None where that is an output, or like another one."""
    text = " ".join((entry.like or "").split())
    for index, other in enumerate(entries):
        if text in (f"input {index}", other.name) and other.kind != "like":
            return index
    return None


def _states_return(resolved: ResolvedSpec) -> bool:
    """Whether every state comes back in the sizes in which it went in.

    An answer of another size cannot be handed to the next call.
    """
    states = [tensor for tensor in resolved.input_tensors if tensor.kind == "state"]
    returned = [tensor for tensor in resolved.output_tensors if tensor.kind == "state"]
    return all(one.shape == other.shape for one, other in zip(states, returned, strict=False))

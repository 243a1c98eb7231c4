"""Sizes of inputs that nobody gives: the first under which a network runs and its answers have a reading.

Candidates are laid out as poses usually are, in a fixed order; frames are a number that the user's own arrays have,
that the network names, or a usual one. Sizes with several readings are settled by the answers: that reading is taken
under which answers to mirrored inputs are clearly nearest to mirrored answers.

Of a lifter that reads 27 frames of 17 joints nobody says more than `h36m`; what comes out are two samples,

    taken as b t j d = 2,27,17,2    (--input-shape says otherwise)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, product
from math import inf, prod

import torch
from torch import Tensor, nn

from chiralize.body.fitting import fitting_poses
from chiralize.body.layout import parse_layout, split_reversed
from chiralize.body.resolve import OnTensor, Resolved, resolve
from chiralize.body.schema import Tensor as Entry
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Spec
from chiralize.errors import AmbiguousLayoutError, Finding, SpecError, UsageError
from chiralize.errors.words import first_line
from chiralize.graph.run import Call
from chiralize.problem.trial import Arrangement, Shape, Trial, arguments_of, arrangements
from chiralize.symmetry.action import act

SAMPLES = 2
"""Samples of an example of ours: exported with one, many programs take no other number."""
_POSES = (
    *("b j d", "b t j d", "b (j d)", "b t (j d)", "b d j", "b d t j", "b (j d) t", "b j d t", "b t d j", "b j t d"),
    "b d t j m",
)
_PLAIN = ("b j", "b t j", "b j t")
"""Layouts of poses, as public lifters, forecasters and recognisers have them, in the order in which they are tried."""
_FRAMES = (9, 27, 81, 243, 64, 100, 300, 16, 32, 50, 128, 1)
"""Usual numbers of frames: of lifters, of recognisers, of forecasters, of anything."""
_NAMES = (
    *("receptive_field", "num_frames", "n_frames", "frames", "seq_len", "window_size", "input_n", "obs_len"),
    "num_time_steps",
)
"""Attributes in which public networks have their number of frames."""
_MOST = 3000
"""Combinations of sizes that are tried: a few seconds on fake tensors."""
_MOST_WAYS, _ROWS = 16, 32
"""Readings of the same sizes that are compared, and samples that they are compared on."""
_NEAR, _CLEARLY = 1.1, 0.75
"""Gaps of a reading that is taken: at most so wide (two unrelated answers are 1.4 apart), and so much of the next."""
Sizes = tuple["int | str", ...]
"""Sizes of one tensor, "b" where samples are and "t" where frames are."""
Way = tuple[tuple[Entry, Sizes], ...]
"""Of every input an entry, laid out where its axes stand by themselves, and its sizes."""


@dataclass(frozen=True)
class Reading:
    """One call of a network, and what the specification says of its tensors.

    findings: what the inputs were taken for, where nobody said it.
    """

    call: Call
    spec: Spec
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Runs:
    """Sizes under which a network runs, their reading, and how it is called."""

    shapes: tuple[Shape, ...]
    spec: Spec
    resolved: Resolved
    arrangement: Arrangement


class Search:
    """Tries sizes of all inputs of a network.

    arrays: the user's own, whose sizes come first.  observed: the sizes of all inputs but the states, if given.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: Spec,
        dtype: torch.dtype,
        arrays: Mapping[str, Tensor],
        observed: Sequence[Shape] = (),
    ) -> None:
        self.module, self.spec, self.arrays, self.observed = module, spec, arrays, observed
        self.trial = Trial(module, dtype)
        arguments = arguments_of(module)
        required = [each.name for each in arguments or () if each.is_required]
        if spec.inputs is None and len(required) > 1:
            facts = f"it takes {', '.join(required)}, and nothing says what they are"
            raise UsageError("the network", facts, "give --input-layout for each, or an example")
        self.entries: tuple[Entry, ...] = spec.inputs or (Entry(),)
        kinds, names = [one.kind for one in self.entries], [one.name for one in self.entries]
        self.arrangements = list(arrangements(kinds, names, arguments))
        self.offered = {tuple(array.shape[1:]) for array in arrays.values()}

    def reading(self) -> Reading:
        """The first reading that holds, of two samples, else of one. Raises UsageError, AmbiguousLayoutError."""
        for samples in (SAMPLES, 1) if not self.observed else (self.observed[0][0],):
            first = self._first(samples)
            if first is not None:
                return self._worded(first)
        refusals = self.trial.refusals
        facts = f"it runs in none of {len(refusals)} sizes that were tried"
        if refusals:
            facts += f"; the first, {_texts(next(iter(refusals)))}: {next(iter(refusals.values()))}"
        raise UsageError("the network", facts, "give --input-shape and --input-layout for each input, or an example")

    def _worded(self, sizes: _Runs) -> Reading:
        """A call of the found sizes, with what they were taken for."""
        tensors = self._random(sizes.shapes, torch.Generator().manual_seed(0))
        taken = [f"{tensor.layout} = {_texts([tensor.shape])}" for tensor in sizes.resolved.inputs]
        note = Finding("inputs", "note", f"taken as {'; '.join(taken)}", "--input-shape says otherwise")
        return Reading(sizes.arrangement.call(tensors), sizes.spec, (note,))

    def _first(self, samples: int) -> _Runs | None:
        """The first sizes with a reading; of sizes with several, that which the answers show."""
        unclear: list[tuple[tuple[Shape, ...], list[Spec], Arrangement]] = []
        for way, frames in self._candidates():
            shapes = tuple(_filled(sizes, samples, frames) for _, sizes in way)
            for arrangement in self.arrangements:
                answers = self.trial.answers(shapes, arrangement)
                if answers is None or any(0 in answer for answer in answers):
                    continue
                if samples > 1 and not self.observed and not self._agrees_at_one(way, frames, arrangement, answers):
                    continue
                spec = replace(self.spec, inputs=tuple(entry for entry, _ in way))
                try:
                    return _Runs(shapes, spec, resolve(spec, shapes, answers), arrangement)
                except AmbiguousLayoutError:
                    if ways := _ways(spec, shapes, answers):
                        unclear.append((shapes, ways, arrangement))
                except SpecError as error:
                    self.trial.refusals.setdefault(shapes, f"{_texts(answers)}: {error.facts}")
        try:
            return self._by_answers(*unclear[0]) if unclear else None
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # it runs on sizes, not on numbers
            facts = f"it fails on random numbers of {_texts(unclear[0][0])}: {first_line(error)}"
            raise UsageError("the network", facts, "give --input-layout for each input, or an example") from error

    def _agrees_at_one(self, way: Way, frames: int, arrangement: Arrangement, answers: Sequence[Shape]) -> bool:
        """Whether the answer to one sample has the axes of that to two: a `squeeze` takes away its batch."""
        for_one = self.trial.answers(tuple(_filled(sizes, 1, frames) for _, sizes in way), arrangement)
        return for_one is not None and [len(answer) for answer in for_one] == [len(answer) for answer in answers]

    def _candidates(self) -> Iterator[tuple[Way, int]]:
        """Sizes of all inputs, those of the user's arrays first, with a number of frames, 0 where none has any."""
        given = iter(self.observed)
        options = [
            [(entry, next(given))] if self.observed and entry.kind != "state" else list(self._shapes(entry))
            for entry in self.entries
        ]
        for way in sorted(islice(product(*options), _MOST), key=lambda way: not self._is_offered(way)):
            for frames in self._frames(way):
                yield way, frames

    def _is_offered(self, way: Way) -> bool:
        """Whether the user's arrays have the sizes of some input, whatever their frames."""
        for _, sizes in way:
            for shape in self.offered:
                if len(shape) == len(sizes) - 1 and all(map(lambda a, b: a in ("t", b), sizes[1:], shape)):
                    return True
        return False

    def _shapes(self, entry: Entry) -> Iterator[tuple[Entry, Sizes]]:
        """Sizes that a tensor may have; each with its entry, laid out where its axes stand by themselves."""
        body = entry.body(self.spec.skeleton)
        if entry.kind == "state":
            yield from ((entry, sizes) for sizes in _states(self.module))
        elif entry.kind == "pose":
            yield from _poses(entry, body)
        elif entry.like is not None:
            names = {name: one for at, one in enumerate(self.entries) for name in (f"input {at}", one.name)}
            yield from ((entry, sizes) for _, sizes in self._shapes(names[entry.like]))
        elif entry.kind == "fields":
            is_laid_out = entry.layout is not None and "..." not in entry.layout
            for text in [str(entry.layout)] if is_laid_out else ["b f", "b t f"]:
                yield entry, _sizes(text, {"f": _width(entry, body)})
        else:
            yield from ((entry, ("b", width)) for width in self._widths())
            yield entry, ("b",)

    def _widths(self) -> list[int]:
        """Widths of an input without a body: one, what layers read beyond the described inputs, what they read."""
        layers = list(self.module.modules())
        read = [layer.in_features for layer in layers if isinstance(layer, nn.Linear)]
        read += [layer.input_size for layer in layers if isinstance(layer, (nn.RNNBase, nn.RNNCellBase))]
        known = 0
        for entry in self.entries:
            body = entry.body(self.spec.skeleton)
            if entry.kind == "fields":
                known += _width(entry, body)
            elif entry.kind == "pose":
                known += len(body.joints) * max(1, *_counts(entry, body))
        return list(dict.fromkeys([1, *(width - known for width in read if width > known), *read, 2, 3]))

    def _frames(self, way: Way) -> Iterator[int]:
        """Numbers of frames to try: of the user's arrays, that the network names, usual ones, lengths of its tables."""
        if not any("t" in sizes for _, sizes in way):
            yield 0
            return
        # What a linear layer reads along the last axis is no number of frames.
        read = {layer.in_features for layer in self.module.modules() if isinstance(layer, nn.Linear)}
        widths = read if any(sizes[-1] == "t" for _, sizes in way) else set()
        named = [getattr(self.module, name, None) for name in _NAMES]
        tables = sorted({size for weight in self.module.parameters() for size in weight.shape if 4 <= size <= 1024})
        offered = sorted({size for shape in self.offered for size in shape}, reverse=True)
        for number in dict.fromkeys([*offered, *named, *_FRAMES, *tables]):
            if type(number) is int and number > 0 and number not in widths:
                yield number

    # ---- several readings of the same sizes ----------------------------------------------------------------------
    def _by_answers(self, shapes: tuple[Shape, ...], ways: Sequence[Spec], arrangement: Arrangement) -> _Runs:
        """The reading under which the network's gap is clearly the smallest. Raises AmbiguousLayoutError."""
        draws = self._draws(shapes)
        plain = [self.trial.values(draw, arrangement) for draw in draws]
        answers = [tuple(map(int, answer.shape)) for answer in plain[0]]
        gaps: list[tuple[float, int]] = [(inf, -1)]  # none behind the last
        for number, way in enumerate(ways):
            resolved = resolve(way, shapes, answers)
            images = [self.trial.values(_turned(draw, resolved.inputs), arrangement) for draw in draws]
            gaps.append((_gap(plain, [_turned(image, resolved.outputs) for image in images]), number))
        (best, number), (following, _), *_ = sorted(gaps)
        if best <= min(_NEAR, _CLEARLY * following):
            return _Runs(shapes, ways[number], resolve(ways[number], shapes, answers), arrangement)
        texts = " or ".join(map(_layouts, ways))
        facts = f"{_texts(shapes)} may be read as {texts}"
        raise AmbiguousLayoutError("the network", facts, "say which: --input-layout, --output-layout")

    def _draws(self, shapes: Sequence[Shape]) -> list[list[Tensor]]:
        """Inputs of some calls: the user's where there is an array for each, else N(0, 1)."""
        size, generator = shapes[0][0], torch.Generator().manual_seed(0)
        if self.arrays and len(self.arrays) == len(shapes):
            most = min(_ROWS, *map(len, self.arrays.values())) // size * size
            parts = [array[:most].to(self.trial.dtype).split(size) for array in self.arrays.values()]
            return list(map(list, zip(*parts, strict=True)))
        return [self._random(shapes, generator) for _ in range(_ROWS // size)]

    def _random(self, shapes: Sequence[Shape], generator: torch.Generator) -> list[Tensor]:
        """N(0, 1) in these sizes, the states zero."""
        tensors = [torch.randn(shape, generator=generator).to(self.trial.dtype) for shape in shapes]
        return [tensor * (entry.kind != "state") for tensor, entry in zip(tensors, self.entries, strict=True)]


def _width(entry: Entry, body: Skeleton) -> int:
    """How many numbers its blocks have together."""
    return sum(len(block.run(body).labels) for block in entry.fields or ())


def _is_fixed(entry: Entry) -> bool:
    """Whether the specification says how many numbers a joint has in this tensor."""
    return entry.dims is not None or entry.quantity is not None


def _counts(entry: Entry, body: Skeleton) -> list[int]:
    """How many coordinates an axis may hold: a lone first one of several is never guessed."""
    size = len(body.dims)
    return [size] if _is_fixed(entry) or size <= 1 else list(range(2, size + 1))


def _poses(entry: Entry, body: Skeleton) -> Iterator[tuple[Entry, Sizes]]:
    """Sizes of a pose, in each layout with its coordinates, then with a confidence behind them."""
    counts = _counts(entry, body)
    is_plain = counts in ([0], [1])
    texts = [entry.layout] if entry.layout else list(_PLAIN if is_plain else _POSES)
    if "..." in texts[0]:  # axes in front: of samples, then of frames as well
        texts = [texts[0].replace("...", axes) for axes in ("b", "b t")]
    ways: list[tuple[str, int, tuple[str, ...] | None]] = list(product(texts, counts, [entry.dims]))
    if not _is_fixed(entry) and not is_plain and not body.signs:
        dims = (*body.dims, "confidence" if "c" in body.dims else "c")
        ways += product(texts, [len(dims)], [dims])
    for text, count, dims in sorted(ways, key=lambda way: "m" in way[0].split()):  # two people are tried last
        # An axis that stands by itself is laid out; whether (j d) or (d j), the answers have to tell.
        layout = entry.layout if entry.layout or "(" in text else text
        laid_out = entry.model_copy(update={"layout": layout, "dims": dims})
        yield laid_out, _sizes(text, {"j": len(body.joints), "d": count})


def _sizes(text: str, known: Mapping[str, int]) -> Sizes:
    """`b t (j d)` as ("b", "t", 34): a word that nobody knows is taken for frames."""
    sizes: dict[str, int | str] = {"b": "b", "1": 1, "m": 2, "p": 2, **known}
    taken: list[int | str] = []
    for axis in parse_layout(split_reversed(text)[0]).axes:
        numbers = [sizes.get(word, "t") for word in axis]
        whole = [number for number in numbers if isinstance(number, int)]
        taken.append(prod(whole) if len(whole) == len(numbers) else next(n for n in numbers if isinstance(n, str)))
    return tuple(taken)


def _filled(sizes: Sizes, samples: int, frames: int) -> Shape:
    """The sizes with numbers in place of "b" and "t"."""
    words = {"b": samples, "t": frames}
    return tuple(words[size] if isinstance(size, str) else size for size in sizes)


def _states(module: nn.Module) -> Iterator[Sizes]:
    """Sizes of recurrent states: of torch's layers, then of what may be written by hand."""
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            yield part.num_layers * (1 + part.bidirectional), "b", part.hidden_size
        elif isinstance(part, nn.RNNCellBase):
            yield "b", part.hidden_size
    for size in dict.fromkeys(size for weight in module.parameters() for size in weight.shape if size > 1):
        yield "b", size
        yield 1, "b", size


def _texts(shapes: Sequence[Shape]) -> str:
    """Sizes as `--input-shape` takes them: `1,27,17,2`."""
    return " and ".join(",".join(map(str, shape)) for shape in shapes)


def _layouts(spec: Spec) -> str:
    """The layouts of all tensors, `b (j d), b (d j)`."""
    return ", ".join(str(entry.layout) for entry in (*(spec.inputs or ()), *(spec.outputs or ())))


def _ways(spec: Spec, shapes: Sequence[Shape], answers: Sequence[Shape]) -> list[Spec]:
    """The specification with each of the layouts that fit for tensors without one."""
    inputs: Sequence[Entry] = spec.inputs or ()
    outputs: Sequence[Entry] = spec.outputs or (Entry(invariant=spec.invariant),) * len(answers)
    choices: list[list[Entry]] = []
    for entry, shape in (*zip(inputs, shapes, strict=True), *zip(outputs, answers, strict=True)):
        layouts: list[str] = []
        if entry.kind == "pose" and entry.layout is None:
            poses = fitting_poses(shape, entry.body(spec.skeleton), _is_fixed(entry), "tensor")
            layouts = [str(pose.layout) for pose in poses]
        choices.append([entry.model_copy(update={"layout": text}) for text in layouts] or [entry])
    ways: list[Spec] = []
    for chosen in islice(product(*choices), _MOST_WAYS):
        way = replace(spec, inputs=chosen[: len(inputs)], outputs=chosen[len(inputs) :], invariant=False)
        with suppress(SpecError):
            resolve(way, shapes, answers)
            ways.append(way)
    return ways


def _turned(values: Sequence[Tensor], tensors: Sequence[OnTensor]) -> list[Tensor]:
    """T on every value; those whose representation is open as they are."""
    turned = list(values)
    for index, (value, tensor) in enumerate(zip(values, tensors, strict=True)):
        if tensor.representation is not None:
            turned[index] = act(value, tensor.representation, tensor.center)
    return turned


def _gap(plain: Sequence[Sequence[Tensor]], back: Sequence[Sequence[Tensor]]) -> float:
    """The widest of all outputs: |f(x) - T f(T x)| in shares of the spread of f(x) over the samples."""
    widest = 0.0
    for ours, others in zip(zip(*plain, strict=True), zip(*back, strict=True), strict=True):
        before, after = torch.cat(ours).double(), torch.cat(others).double()
        spread = (before - before.mean(0)).square().mean()
        if not spread:  # the same answer to all samples fits every reading
            return inf
        widest = max(widest, float((before - after).square().mean() / spread) ** 0.5)
    return widest

"""The mirror of a network: T on everything that goes in and comes out, and how well it fits.

`NetworkMirror` is made once for a network (`problem/mirror.py`), and whoever compares f(T x) with T f(x) has it.
`MirrorFit` is what `verification/evidence` has found out about T: the gap of the original under T, beside that of
other mirrors.

    gap = |f(T x) - T f(x)| in shares of the answers' spread
    0 equivariant,  0.1 to 0.25 trained on both sides,  1.4 unrelated answers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch

from chiralize.graph.running import Around, Call, mirrored, placed
from chiralize.graph.tensors import in_rows
from chiralize.graph.units import Units
from chiralize.symmetry.action import Center, Turn, act
from chiralize.symmetry.representation import Representation, TensorRepresentation

ONE_UNIT = Units()
Label = Callable[[Literal["input", "output"], int, tuple[int, ...]], str]


def plain_label(io: str, index: int, entry: tuple[int, ...]) -> str:
    """Name of a tensor entry where no joint names are known, e.g. `output 0[0, 0, 3, 1]`."""
    return f"{io} {index}{list(entry)}"


@dataclass(frozen=True)
class NetworkMirror:
    """T on everything that goes into a network and comes out of it, at the sizes of the examples.

    inputs, outputs: one representation per tensor of the flattened arguments and results; along trivial axes other
    sizes are fine.  states: by name of the buffer that forward writes.  state_outputs: positions of outputs that are
    states (left out of drift).  label: the name of one entry, such as `right_elbow.x`.  part: of the joint, or the
    quantity, that it belongs to, `right_elbow`.
    input_centers, output_centers: c of an affine T x = c + R (x - c), None where T is linear; empty where all are.
    around: where random inputs lie.  is_single: a call is one sample, so that no axis of its outputs counts samples.
    units: of outputs whose entries have several, by position.  state_inputs: positions of inputs that are states.
    """

    inputs: tuple[TensorRepresentation, ...]
    outputs: tuple[TensorRepresentation, ...]
    states: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    state_outputs: frozenset[int] = frozenset()
    label: Label = plain_label
    part: Label = plain_label
    input_centers: tuple[Center, ...] = field(default=(), compare=False)
    output_centers: tuple[Center, ...] = field(default=(), compare=False)
    around: Around = field(default=Around(), compare=False)
    is_single: bool = field(default=False, compare=False)
    units: Mapping[int, Units] = field(default_factory=dict, compare=False)
    state_inputs: frozenset[int] = frozenset()

    def in_rows(self, output: torch.Tensor) -> torch.Tensor:
        """An output of one call as "sample entry..."."""
        return in_rows(output, self.is_single)

    def output_in_rows(self, index: int) -> tuple[TensorRepresentation, Callable[[tuple[int, ...]], str]]:
        """T on an output as `in_rows` gives it, and the joint or the quantity that an entry of it belongs to."""
        representation, part = self.outputs[index], partial(self.part, "output", index)
        if not self.is_single:
            return representation, part
        axes = (Representation.trivial(1), *representation.axes)
        return replace(representation, axes=axes), lambda entry: part(entry[1:])

    def units_in_rows(self, index: int) -> Units:
        """The units of an output as `in_rows` gives it."""
        return self.units_of(index).within(int(self.is_single))

    def units_of(self, index: int) -> Units:
        """The units of an output."""
        return self.units.get(index, ONE_UNIT)

    def samples_in(self, outputs: Sequence[torch.Tensor]) -> int:
        """How many samples the outputs of one call belong to."""
        return len(self.in_rows(outputs[0])) if outputs else 1

    @property
    def is_affine(self) -> bool:
        """Whether T has a centre other than 0 on some input or output, so that it is not linear."""
        return any(center is not None for center in (*self.input_centers, *self.output_centers))

    def turned(self, call: Call) -> Call:
        """The call on T x."""
        return mirrored(call, self.inputs, self.input_centers)

    def turned_output(self, index: int, tensor: torch.Tensor) -> torch.Tensor:
        """T y of one output."""
        return act(tensor, self.outputs[index], self.center_of(index))

    def center_of(self, index: int) -> Center:
        """The fixed point c of T on an output, None for 0."""
        if not self.output_centers:
            return None
        return self.output_centers[index]

    @property
    def turns_in(self) -> tuple[Turn, ...]:
        """T on every input: its linear part and its centre."""
        return tuple(zip(self.inputs, self.input_centers or [None] * len(self.inputs), strict=True))

    @property
    def turns_out(self) -> tuple[Turn, ...]:
        """T on every output: its linear part and its centre."""
        return tuple(zip(self.outputs, self.output_centers or [None] * len(self.outputs), strict=True))

    def placed(self, call: Call) -> Call:
        """A call drawn from N(0, 1), moved to where random inputs lie."""
        return placed(call, self.around)


NOTHING_IN_COMMON = 0.95
"""A gap from which on a network shows nothing of a symmetry. Two unrelated answers are 1.4 spreads apart; networks
that know both sides have gaps of 0.1 to 0.25 (up to 0.5 after little training), recognisers without mirrored clips
up to 0.8."""


FITS = 0.5
"""A mirror with a larger gap than this does not fit, unless T fits much worse (`judging.MUCH`), as where a joint that
hardly moves is taken for one that does. T itself is not confirmed above it, and not refuted: right mirrors had at most
0.45 (decision 0026), but for networks of one side and recognisers."""
_SETTLED = 0.1
"""A gap up to which another mirror leaves nothing to explain: that of networks that know both sides well."""
CLEARLY = 0.7
"""A neighbour with at most so much of the gap of T comes clearly nearer."""


@dataclass(frozen=True)
class AgainstNames:
    """What a mirror does against names that T follows.

    unswapped: partners by name that it leaves in their places, `left_ear and right_ear`.  misplaced: entries that it
    pairs, and that are not of two sides by their names, `RL_thigh with RL_calf`.
    """

    unswapped: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it does anything against them."""
        return bool(self.unswapped or self.misplaced)


@dataclass(frozen=True)
class Corrected:
    """Changes of the specification by name that together make T fit, and the gap that they leave.

    No names where nothing near T fits, however many things are changed.
    """

    names: tuple[str, ...]
    gap: float


@dataclass(frozen=True)
class MirrorFit:
    """How well T fits the original network, beside its neighbours (no swap, another sign, another skeleton).

    gap: of the original under T.  nearest, nearest_gap: the neighbour that fits best, by name ("" where none was
    tried).  real: measured on real inputs, not on noise.  trained: False where the network is plainly untrained.
    skeletons: shipped skeletons of this size whose mirror fits.  better: the neighbours that fit clearly better than
    T, by name.  answers_stay: T leaves (nearly) all answers as they are, so that a small gap is weak evidence for T.
    corrected: the changes of the specification that all together lead to a mirror that fits, if any.
    partly: the better one that fits the answers which it changes best, while others stay apart; or "".
    doubt: why T is in doubt, with the gaps, where another mirror comes nearer and not clearly; or "".
    against: what mirrors that fit better do against names that T follows, where nothing else speaks against T.
    """

    gap: float
    nearest: str = ""
    nearest_gap: float = 0.0
    real: bool = False
    trained: bool = True
    skeletons: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    answers_stay: bool = False
    corrected: Corrected = Corrected((), 0.0)
    partly: str = ""
    doubt: str = ""
    against: AgainstNames = AgainstNames()

    @property
    def changes(self) -> tuple[str, ...]:
        """The changes of the specification that together make it fit, by name."""
        return self.corrected.names

    @property
    def unlike(self) -> tuple[str, ...]:
        """Partners by their names and by T whose two sides the network answers unlike."""
        return self.against.unswapped

    @property
    def misplaced(self) -> tuple[str, ...]:
        """Entries of one side by their names that the network would pair."""
        return self.against.misplaced

    @property
    def is_refuted(self) -> bool:
        """Whether real inputs show that T is not the mirror of this network, or that names are not those of entries."""
        is_contradicted = bool(self.better or self.against)
        return self.real and self.trained and (self.gap >= NOTHING_IN_COMMON or is_contradicted)

    @property
    def is_wide(self) -> bool:
        """Whether the gap of T is that of a mirror that does not fit, which confirms nothing."""
        return self.gap > FITS

    @property
    def fits_another(self) -> bool:
        """Whether some other mirror fits clearly better than T."""
        return bool(self.better or self.changes or self.skeletons)

    @property
    def is_settled(self) -> bool:
        """Whether another mirror fits so well that nothing else is left to look at first."""
        return bool(self.better) and self.nearest_gap <= _SETTLED

    @property
    def has_a_nearer(self) -> bool:
        """Whether a neighbour comes so much nearer than T that it is worth a look, whether or not it fits."""
        return bool(self.nearest) and self.nearest_gap <= CLEARLY * self.gap

    @property
    def nearest_is_first(self) -> bool:
        """Whether that neighbour is the first thing to try: with it, the network shows something of a symmetry.

        It need not fit: a network that knows one side better has a wide gap under its right mirror, too.
        """
        return self.has_a_nearer and self.nearest_gap < NOTHING_IN_COMMON

    @property
    def is_confirmed(self) -> bool:
        """Whether real inputs show that the network, a trained one, has this symmetry."""
        return self.real and self.trained and not self.is_refuted

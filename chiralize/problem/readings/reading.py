"""What a search for example inputs hands back: a reading of all tensors, or the obstacles that it met.

`search` fills these records; `derive` and `chosen` use a reading, `refusal` makes a message of the obstacles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.errors import AmbiguousLayoutError, SpecError
from chiralize.problem.readings.arguments import Arranged
from chiralize.problem.readings.frames import Contradiction
from chiralize.problem.readings.templates import FRAMES
from chiralize.problem.readings.trial import Shape, Shapes


@dataclass(frozen=True)
class Reading:
    """Sizes of all inputs under which the network runs, and what they mean.

    arranged: where the tensors go.  spec: with what was assumed of the entries.  reason: for the number of frames, and
    for an order.  ways: specifications under which the same sizes are read, where there are several.
    counted: the word, in a layout, of the axis whose number the reason is for.  is_offered: the user's arrays have
    these sizes.
    """

    shapes: Shapes
    arranged: Arranged
    spec: ConversionSpec
    resolved: ResolvedSpec
    reason: str = ""
    ways: tuple[ConversionSpec, ...] = ()
    counted: str = FRAMES
    is_offered: bool = False


@dataclass(frozen=True)
class Refused:
    """Sizes under which the network runs, but that leave a tensor without a reading. error: why."""

    shapes: Shapes
    arranged: Arranged
    answers: tuple[Shape, ...]
    error: SpecError


@dataclass
class Obstacles:
    """What a search met that is no reading, so that a refusal can say why there is none, and what to give.

    refused: sizes that run but are no reading.  tried: how many were tried.
    contradiction: two numbers of frames that both fit, with the sizes.
    open_inputs: positions of inputs of which several sizes fit, with those sizes.  nearest: the first reading.
    alike: sizes under which all joints are treated alike.  left: specifications that the user's samples speak for,
    where several are.  is_cut_off: sizes were left when the time was over.
    """

    refused: list[Refused] = field(default_factory=list)
    tried: int = 0
    contradiction: tuple[Contradiction, Shapes, Shapes] | None = None
    open_inputs: dict[int, tuple[Shape, ...]] = field(default_factory=dict)
    nearest: Reading | None = None
    alike: list[Shapes] = field(default_factory=list)
    left: Sequence[ConversionSpec] = ()
    is_cut_off: bool = False

    @property
    def ambiguous(self) -> Refused | None:
        """The first sizes that run and have several readings."""
        return next(iter(self._ambiguous()), None)

    def ambiguous_among(self, sizes: Iterable[Shapes]) -> list[Refused]:
        """Refusals for several readings, of these sizes."""
        wanted = set(sizes)
        return [refused for refused in self._ambiguous() if refused.shapes in wanted]

    def _ambiguous(self) -> list[Refused]:
        """The refusals for several readings."""
        return [refused for refused in self.refused if isinstance(refused.error, AmbiguousLayoutError)]

    def note(self, refused: Refused) -> None:
        """Remember one refusal for each sizes."""
        if all(other.shapes != refused.shapes for other in self.refused):
            self.refused.append(refused)

"""A network made ready for analysis: a copy in eval mode, its examples, its graph if there is one, its mirror.

`Network` is the record that every later step takes (decision 0033). It holds the same function three times: as a
module to run, as an exported program to write, and as a flat graph of ops to reason about. `holding` gives all of them
other weights, so that they stay one function.

Mirrors at a point c other than 0 are affine: T x = c + S (x - c) with a signed permutation S. Steps that work with S
alone use `graph()`, which reads x - c and answers y - c'; `centered`, `uncentered` and `restored` go between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.graph import rewrite
from chiralize.graph.copies import is_large
from chiralize.graph.fixed_sizes import unhooked
from chiralize.graph.model import CapturedModel
from chiralize.graph.open_axes import open_batch
from chiralize.graph.open_sizes import opened
from chiralize.graph.other_sizes import is_open_along
from chiralize.graph.passes.centering import Centered, center
from chiralize.graph.regions import collapse
from chiralize.graph.rollouts import LONGEST, Carried
from chiralize.graph.running import Arguments, Around, Call, Runner, placed, random_calls, results, same
from chiralize.graph.tensors import in_rows, number_count
from chiralize.graph.unheld import as_held
from chiralize.infer import macs_of
from chiralize.infer.capture import capture
from chiralize.infer.registry import registry, traits
from chiralize.problem.axes import batch_axes, frame_axes
from chiralize.problem.constant import ConstantAnswers
from chiralize.problem.earlier import EarlierMirror
from chiralize.problem.exporting import answers, writes_something
from chiralize.problem.lengths import Lengths

if TYPE_CHECKING:
    from chiralize.problem.partial.partial import Partial

_DRAWS = 8
"""Seeds with which a network is run to see whether it draws random numbers."""


@dataclass(frozen=True)
class GraphOrigin:
    """How the graph of a network came about, and what it does not hold.

    problem: why there is none.  traced: the module is a replay of what the original did on the examples.
    from_program: the user gave the exported program.  unheld: attributes in which forward keeps a state that the graph
    does not hold.
    """

    problem: ChiralizeError | None = None
    traced: bool = False
    from_program: bool = False
    unheld: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The way to the graph, as messages about sizes name it: `exported`, `traced` or `captured`."""
        if self.from_program:
            return "exported"
        return "traced" if self.traced else "captured"


@dataclass(frozen=True)
class Handover:
    """What the user handed in, of which a network was made ready, and how it is handed on.

    entry: the method that is called.  advice: which one to name where answers are drawn at random.
    handed_in: the network of the user, where this one is that one changed (`--align`).  partial: what there is beside
    it where it is the claimed part of a network.  as_program: what is handed on is the program, not the module, which
    may take more sizes.
    """

    entry: str = "forward"
    advice: str = ""
    handed_in: Network | None = None
    partial: Partial | None = None
    as_program: bool = False


@dataclass(frozen=True)
class OtherMirrors:
    """Mirrors beside the one of a network.

    further: others that the user named, each fitted to the same tensors.  earlier: those that the network commutes with
    already, and that must not be disturbed.
    """

    further: tuple[tuple[str, ResolvedSpec], ...] = ()
    earlier: tuple[EarlierMirror, ...] = ()


@dataclass(frozen=True)
class Treatment:
    """What inference takes otherwise than it stands in the graph.

    regions: stretches that are taken as one op, since both views run through them.  symmetrize: constants that the
    mirror changes are projected like weights.
    """

    regions: tuple[str, ...] = ()
    symmetrize: bool = False


@dataclass(frozen=True)
class Behaviour:
    """What runs of a network showed, beside its answers to the examples.

    constant: outputs that do not depend on the inputs.  open_sizes: of every input whose sizes nobody gave, the axes on
    which it takes others as well, with their words in the layout.  lengths: of open axes on which not every size has an
    answer.  silent: why inputs of the examples' sizes have none, "" where they have.
    """

    constant: ConstantAnswers = ConstantAnswers()
    open_sizes: tuple[Mapping[int, str], ...] = ()
    lengths: tuple[Lengths, ...] = ()
    silent: str = ""


@dataclass(frozen=True)
class Network:
    """A network made ready: the copy that is analysed, its program and graph, its specification.

    module: a copy that may be run and edited freely.  program: the exported program it came from or gave, None where
    it cannot be exported.  captured: its graph at the examples' sizes, None if it has none; its `origin` says why.
    """

    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    resolved: ResolvedSpec
    program: ExportedProgram | None = None
    captured: CapturedModel | None = None
    origin: GraphOrigin = GraphOrigin()
    notes: tuple[str, ...] = ()
    handover: Handover = Handover()
    others: OtherMirrors = OtherMirrors()
    treatment: Treatment = Treatment()
    behaviour: Behaviour = Behaviour()

    @property
    def spec(self) -> ConversionSpec:
        """The specification as the user wrote it."""
        if self.handover.partial is None:
            return self.resolved.spec
        return self.handover.partial.spec

    @property
    def as_given(self) -> Network:
        """The network of the user, which costs are told against."""
        return self.handover.handed_in or self

    @property
    def rows(self) -> int:
        """Samples in one call: the size of the batch, where it is the first axis of the inputs, else 1."""
        # Inputs whose first axes differ have no batch in common.
        sizes = {tensor.shape[0] for tensor in self.resolved.input_tensors if tensor.has_rows}
        if self.has_rows and len(sizes) == 1:
            return sizes.pop()
        return 1

    def samples_in(self, call: Call) -> int:
        """Samples in a call: as many as its first tensor is long, or one where no axis counts samples."""
        return len(self.in_rows(Arguments.of(*call).tensors[0]))

    def in_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """An input of one call as "sample entry..."."""
        return in_rows(tensor, self.resolved.is_single)

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
    def example(self) -> Call:
        """One call on the example inputs."""
        return tuple(self.args), dict(self.kwargs)

    @property
    def floors(self) -> Mapping[str, int]:
        """By open axis, the least size that has an answer, where not all have one."""
        return {lengths.axis: lengths.least for lengths in self.behaviour.lengths if lengths.least is not None}

    def open_axes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The open axes of a module's inputs, for `opened`."""
        return open_batch(args, kwargs, batch_axes(self.resolved))

    def program_of(
        self, module: torch.nn.Module, example: Call, tell: Callable[[str], None] = lambda what: None
    ) -> ExportedProgram:
        """A module in this one's place as a program, its frames open where those of this one are.

        Raises CaptureError.
        """
        wide, more = None, axes_with_frames(self)
        if more and self.program is not None and is_open_along(self.program, frame_axes(self.resolved)):
            wide = open_batch(*example, more)
        return opened(module, *example, self.open_axes(*example), tell=tell, wide=wide)

    def graph(self) -> CapturedModel:
        """The captured graph; where the mirror is affine, with inputs and outputs from its centre, so that T is linear.

        Raises the reason why there is none.
        """
        if self.captured is None:
            assert self.origin.problem is not None
            raise self.origin.problem
        return collapse(self._centered.captured if self.resolved.is_affine else self.captured, self.treatment.regions)

    def whole_graph(self) -> CapturedModel:
        """The graph without regions: every op for itself. Raises as `graph` does."""
        return replace(self, treatment=replace(self.treatment, regions=())).graph()

    @cached_property
    def _centered(self) -> Centered:
        """The graph that reads x - c and answers y - c', with the way back for its weights."""
        assert self.captured is not None
        return center(self.captured, self.resolved.input_centers, self.resolved.output_centers, traits())

    @cached_property
    def carried(self) -> Carried:
        """The states and answers that it takes from one call to the next."""
        return Carried(self._keeps_state(), self.resolved.handed)

    def _keeps_state(self) -> bool:
        """Whether an answer depends on what an earlier call has left in the network."""
        if self.origin.unheld:
            return True
        if self.captured is not None:
            return bool(_remembered(self.captured))
        # Without a graph, calls in a row are compared: two, or 200 where it writes something that may count up.
        may_count = not is_large(self.module) and writes_something(self.module, self.example)
        with Runner(self.module) as runner:
            return runner.keeps_state(self.example, LONGEST if may_count else 2)

    def answers_vary(self) -> bool:
        """Whether answers change with the random numbers that the network draws; asked of those without a graph."""
        first = answers(self.module, [self.example], 0)
        # Several seeds, since two draws may lead to the same answer.
        for seed in range(1, _DRAWS):
            if not all(map(same, first, answers(self.module, [self.example], seed))):
                return True
        return False

    def with_notes(self, *notes: str) -> Network:
        """The network with more notes for the report."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self

    def captured_with(self, tables: Container[str]) -> Network:
        """The network captured again, with these constants (keys of the model) as weights."""
        if self.program is None or self.captured is None:
            return self
        graph = capture(self.program, self.args, self.kwargs, self.captured.notes, tables)
        return replace(self, captured=graph if self.origin.from_program else as_held(graph, self.module))

    def restored(self, values: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Weights that were found for `graph()`, by name, as weights of the network itself."""
        if self.resolved.is_affine:
            return self._centered.restored(values)
        return values

    def holding(self, values: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, ExportedProgram | None]:
        """The network with other weights, as a module and as its program, which share them."""
        # The program is the user's own: it is changed, and its module is made of it. Else the module is changed, and
        # the program gets its tensors.
        if self.origin.from_program and self.program is not None:
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
        """Inputs with their centres added, or taken off where the sign is -1; those without a centre as they are."""
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
            # Noise will do, or the examples do not help either.
            if _is_finite(runner, drawn) or not _is_finite(runner, self.example):
                return Around()
            # Input by input: noise again, where the network still answers. As few as possible stay near the example.
            near = Around(near=example.tensors)
            for index in range(len(example.tensors)):
                fewer = Around(near=[*near.near[:index], None, *near.near[index + 1 :]])
                if _is_finite(runner, placed(drawn, fewer)):
                    near = fewer
        examples = [tensor for tensor in near.near if tensor is not None]
        # Near is meant as a factor: examples that are mostly zeros would all stay as they are.
        if any(2 * int(tensor.count_nonzero()) <= tensor.numel() for tensor in examples):
            return Around()  # zero times anything is zero
        return near

    def _may_refuse(self) -> bool:
        """Whether some op takes only certain numbers, as a logarithm does. True without a graph, since this is not
        known then.
        """
        if self.captured is None:
            return True
        rules = (registry().get(node.target) for node in self.captured.nodes)
        return any(rule is None or rule.partial for rule in rules)


def _remembered(captured: CapturedModel) -> set[str]:
    """States that forward writes and that an answer depends on, at once or in a later call. A counter is none.

    A walk back from the answers. Where it reaches a state, the answer of this call depends on what the last one wrote
    there, so that the walk goes on from what is written, until no state is new.
    """
    wanted = set(captured.answers)
    while True:
        # Nodes are in the order of execution: backwards, one pass reaches all that a value is computed from.
        for node in reversed(captured.nodes):
            if node.name in wanted:
                wanted.update(node.names_read)
        states = wanted & captured.mutations.keys()
        later = {captured.mutations[name] for name in states} - wanted
        if not later:
            return states
        wanted |= later


def _is_finite(runner: Runner, call: Call) -> bool:
    """Whether a network takes a call, and answers it with finite numbers."""
    try:
        outputs = results(runner.run([call]).steps[0])[0]
    except ModelRunError:  # it looks at the range of what it is given
        return False
    return all(bool(output.isfinite().all()) for output in outputs)


def axes_with_frames(network: Network) -> list[tuple[int, ...]]:
    """The batch axes of every input, then its frames; empty where none has frames, or where a run more takes long."""
    frames = frame_axes(network.resolved)
    if not any(frames) or is_large(network.module):
        return []
    return [(*batch, *more) for batch, more in zip(batch_axes(network.resolved), frames, strict=True)]

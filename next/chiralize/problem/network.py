"""A network made ready for analysis: a copy in eval mode, its examples, its graph if there is one, its mirror.

`Network` is the record that every later step takes. It holds the same function three times: as a module to run, as an
exported program to write, and as a flat graph of ops to reason about. `holding` gives all of them other weights, so
that they stay one function.

Mirrors at a point c other than 0 are affine: T x = c + S (x - c) with a signed permutation S. Steps that work with S
alone use `graph()`, which reads x - c and answers y - c'; `restored` brings its weights back.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils.flop_counter import FlopCounterMode

from chiralize.body.resolve import Resolved
from chiralize.body.spec import Spec
from chiralize.errors import ChiralizeError, Finding
from chiralize.graph import rewrite
from chiralize.graph.affine import Centered, center
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel, Shape
from chiralize.graph.run import Around, Call, Runner, apart, in_rows, same, tensors_in
from chiralize.infer.capture import captured
from chiralize.infer.rule import traits
from chiralize.problem.sequences import LONGEST, Carried

OPEN = ("b", "t")
"""Words of layouts whose axes are left open in an export: the batch and the frames."""
_SEEDS = 8
"""Seeds with which a network is run to see whether it draws random numbers: two draws may lead to the same answer."""


@dataclass(frozen=True)
class RunOnly:
    """What is known of a network that another library runs, so that it has no graph.

    moved: gives the same network with every stored number moved by a unit in its last digit.  most: the widest bound
    that a verdict may take, relative to an output's scale.  depth: contraction steps from input to output.
    """

    moved: Callable[[], torch.nn.Module]
    most: float
    depth: int


@dataclass(frozen=True)
class Network:
    """A network made ready: the copy that is analysed, its program and graph, its specification.

    module: a copy that may be run and edited freely.  program: the exported program it came from or gave, None where
    it cannot be exported.  captured: its graph at the examples' sizes, None if it has none; `problem` says why.
    from_program: the user gave the exported program.  entry: the method that is called.  symmetrize: constants that the
    mirror changes are projected like weights.  run_only: of a network that another library runs.
    """

    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    resolved: Resolved
    program: ExportedProgram | None = None
    captured: CapturedModel | None = None
    problem: ChiralizeError | None = None
    findings: tuple[Finding, ...] = ()
    from_program: bool = False
    entry: str = "forward"
    symmetrize: bool = False
    run_only: RunOnly | None = None

    # ---- the call ----------------------------------------------------------------------------------------------
    @property
    def spec(self) -> Spec:
        """The specification as the user wrote it."""
        return self.resolved.spec

    @property
    def example(self) -> Call:
        """One call on the example inputs."""
        return tuple(self.args), dict(self.kwargs)

    @property
    def has_rows(self) -> bool:
        """Whether the first axis of every input that has samples is the batch."""
        return self.resolved.has_rows

    @property
    def is_single(self) -> bool:
        """Whether a call is one sample, so that no axis counts samples."""
        return self.resolved.is_single

    @property
    def rows(self) -> int:
        """Samples in one call: the size of the batch, where it is the first axis of the inputs, else 1."""
        # Inputs whose first axes differ have no batch in common.
        sizes = {tensor.shape[0] for tensor in self.resolved.inputs if tensor.has_rows}
        return sizes.pop() if self.has_rows and len(sizes) == 1 else 1

    def in_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """An input of one call as "sample entry..."; a number without axes is one sample."""
        return in_rows(tensor, self.is_single)

    @cached_property
    def carried(self) -> Carried:
        """The states and answers that it takes from one call to the next."""
        return Carried(self._keeps_state(), self.resolved.handed)

    def _keeps_state(self) -> bool:
        """Whether an answer depends on what an earlier call has left in the network."""
        if self.captured is not None:
            return bool(_remembered(self.captured))
        with Runner(self.module) as runner:  # without a graph: the same call again and again, in case it counts up
            return runner.keeps_state(self.example, LONGEST)

    def answers_vary(self) -> bool:
        """Whether answers change with the random numbers that the network draws; asked of those without a graph."""
        runner, answers = Runner(self.module), list[list[torch.Tensor]]()
        for seed in range(_SEEDS):
            module, (args, kwargs) = runner.start(), apart(self.example)
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(seed)
                answers.append(tensors_in(apart(module(*args, **kwargs))))
        return not all(all(map(same, answers[0], others)) for others in answers[1:])

    @property
    def around(self) -> Around:
        """Where random inputs are drawn: N(0, 1), or about an affine mirror's centre."""
        if self.resolved.is_affine:
            return Around(self.resolved.centers("input"), self.resolved.spreads)
        return Around()

    # ---- its size ----------------------------------------------------------------------------------------------
    @property
    def parameter_count(self) -> int:
        """How many numbers its parameters hold."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @cached_property
    def macs(self) -> int:
        """Multiplications of a call with the examples, of matrix products, convolutions and recurrent layers."""
        rnn = {torch.ops.aten.mkldnn_rnn_layer: _operations_of_lstm}
        with Runner(self.module) as runner:
            # The counter's hooks ask parameters of cells for gradients, which no_grad doesn't give; it is a copy.
            runner.start().requires_grad_(False)
            with FlopCounterMode(display=False, custom_mapping=rnn) as counter:
                runner.run([self.example])
        return counter.get_total_flops() // 2

    def affordable(self, work: float, least: int = 1, most: float = inf) -> int:
        """How many samples it can be run on for so many multiplications: `least` at least, and `most` at most."""
        of_one = max(self.macs or self.parameter_count * self.rows, 1) / self.rows
        return max(least, int(min(work / of_one, most)))

    # ---- the graph, and other weights ----------------------------------------------------------------------------
    def graph(self) -> CapturedModel:
        """The captured graph; where the mirror is affine, with inputs and outputs from its centre, so that T is linear.

        Raises the reason why there is none.
        """
        if self.captured is None:
            assert self.problem is not None
            raise self.problem
        return self._centered.captured if self.resolved.is_affine else self.captured

    @cached_property
    def _centered(self) -> Centered:
        """The graph that reads x - c and answers y - c', with the way back for its weights. Raises OffsetError."""
        assert self.captured is not None
        return center(self.captured, self.resolved.centers("input"), self.resolved.centers("output"), traits())

    def restored(self, values: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Weights that were found for `graph()`, by name, as weights of the network itself."""
        return self._centered.restored(values) if self.resolved.is_affine else values

    def captured_with(self, tables: Container[str]) -> Network:
        """The network captured again, with these constants (keys of the model) as weights."""
        if self.program is None or self.captured is None:
            return self
        return replace(self, captured=captured(self.program, self.args, self.kwargs, tables))

    def holding(self, values: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, ExportedProgram | None]:
        """The network with other weights, as a module and as its program, which share them."""
        # The program is the user's own: it is changed, and its module is made of it. Else the module is changed, and
        # the program gets its tensors.
        if self.from_program and self.program is not None:
            program = rewrite.program_with_weights(self.program, values)
            return program.module(), program
        module = rewrite.with_weights(self.module, values)
        return module, rewrite.program_of(module, self.program) if self.program is not None else None

    def program_of(self, module: torch.nn.Module) -> ExportedProgram:
        """A module in this one's stead as a program, with the same open axes. Raises CaptureError."""
        return export(module, self.args, self.kwargs, open_axes(self.resolved))[0]

    def with_findings(self, *findings: Finding) -> Network:
        """The network with more for the report to say."""
        return replace(self, findings=(*self.findings, *findings)) if findings else self


def _operations_of_lstm(frames: Shape, to_gates: Shape, from_state: Shape, *_: Any, **__: Any) -> int:
    """Additions and multiplications of one layer of an LSTM in one direction: both matrices, once for every frame."""
    return 2 * frames[0] * frames[1] * (to_gates[0] * to_gates[1] + from_state[0] * from_state[1])


def _remembered(graph: CapturedModel) -> set[str]:
    """States that forward writes and that an answer depends on, at once or in a later call. A counter is none.

    A walk back from the answers. Where it reaches a state, the answer of this call depends on what the last one wrote
    there, so that the walk goes on from what is written, until no state is new.
    """
    wanted = set(graph.answers)
    while True:
        # Nodes are in the order of execution: backwards, one pass reaches all that a value is computed from.
        for node in reversed(graph.nodes):
            if node.name in wanted:
                wanted.update(node.names_read)
        states = wanted & graph.mutations.keys()
        later = {graph.mutations[name] for name in states} - wanted
        if not later:
            return states
        wanted |= later


def open_axes(resolved: Resolved) -> list[dict[int, str]]:
    """The axes of every input that may have other sizes, with their words: as its layout says; without one (free
    tensors, states) those of the batch's size.

    A pose b t j d = 5,9,17,2 beside a state 2,5,64: {0: "b", 1: "t"} and {1: "b"}, since 5 is the batch.
    """
    by_layout = [{axis: word for word, axis in one.free_axes if word in OPEN} for one in resolved.inputs]
    batches = set[int]()
    for tensor, words in zip(resolved.inputs, by_layout, strict=True):
        batches.update(tensor.shape[axis] for axis, word in words.items() if word == "b")
    axes: list[dict[int, str]] = []
    for tensor, words in zip(resolved.inputs, by_layout, strict=True):
        axes.append(words or {axis: "b" for axis, size in enumerate(tensor.shape) if size in batches})
    return axes

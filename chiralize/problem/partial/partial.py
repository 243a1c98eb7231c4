"""A network of which only some outputs are claimed to be equivariant, made ready.

Everything is done to its claimed part, a network of its own: that is analysed, converted, run and proved. What the
whole network computes beside it is put back afterwards, and nothing is claimed of that.

There are two ways to the claimed part. Where the entries come straight from linear layers, their rows are dropped
(`rows`). Elsewhere `ClaimedOutputs` runs the whole network and chooses among its answers: that can be verified and
averaged, and is called *mixed*. `prepare` stands before `preparation.prepare`, and commands call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.body.tensors import ConversionSpec
from chiralize.body.tensors.claims import ClaimedPart, claimed, claimed_parts, is_partial, left_out_whole, sized
from chiralize.errors import UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.fixed_sizes import unhooked
from chiralize.graph.running import Arguments, Runner, random_calls, results
from chiralize.problem import preparation as plain
from chiralize.problem.answered import with_lengths
from chiralize.problem.constant_answers import noticed
from chiralize.problem.network import Network
from chiralize.problem.partial.rows import Head, Restriction
from chiralize.problem.progress import Progress, silent

_WHOLE = "only --method average takes it"


@dataclass(frozen=True)
class Partial:
    """What belongs to a network beside its claimed part.

    spec: as the user wrote it.  whole: the network with all its outputs; its T is of no use.
    parts: the outputs that are claimed in part.  heads: the layers that compute entries of which nothing is claimed.
    constants: those with a value for each entry, and the entries of them that are claimed, along their last axis.
    mixed: why the claimed part is not there without the rest, None where it is.
    unfitted: why the rest cannot be fitted to other layers before it, None where it can.
    """

    spec: ConversionSpec
    whole: Network
    parts: tuple[ClaimedPart, ...]
    heads: tuple[Head, ...] = ()
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    mixed: UnsupportedError | None = None
    unfitted: UnsupportedError | None = None

    @property
    def words(self) -> str:
        """`12 of 19 outputs`: tensors where whole ones are left out, else entries."""
        shapes = [tensor.shape for tensor in self.whole.resolved.output_tensors]
        if len(left_out_whole(self.parts)) == len(self.parts):  # no tensor is claimed in part
            return f"{len(shapes) - len(self.parts)} of {len(shapes)} outputs"
        total = sum((1, *shape)[-1] for shape in shapes)
        return f"{total - self.left_out} of {total} outputs"

    @property
    def left_out(self) -> int:
        """How many entries of the outputs are left out."""
        return sum(len(part.unclaimed) for part in self.parts)

    @property
    def names(self) -> str:
        """`arm (7)`: the blocks that are left out, with their sizes."""
        return ", ".join(f"{name} ({size})" for part in self.parts for name, size in part.names)


class ClaimedOutputs(nn.Module):
    """A network's claimed outputs and entries, chosen after it has run."""

    def __init__(self, network: nn.Module, parts: Sequence[ClaimedPart]) -> None:
        super().__init__()
        self.network = network
        self.left_out = left_out_whole(parts)
        self.outputs = [part.output for part in parts if not part.is_whole]
        for part in parts:
            self.register_buffer(f"claimed_{part.output}", torch.tensor(part.claimed), persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's answer, of some outputs the claimed entries alone; a tuple where whole outputs are left out."""
        leaves, structure = pytree.tree_flatten(self.network(*args, **kwargs))
        # Entries first: the numbers of outputs are those of the whole network until outputs are left out.
        for output in self.outputs:
            leaves[output] = leaves[output].index_select(-1, self.get_buffer(f"claimed_{output}"))
        if self.left_out:
            return tuple(leaf for output, leaf in enumerate(leaves) if output not in self.left_out)
        return pytree.tree_unflatten(leaves, structure)


def prepare(
    model: nn.Module | ExportedProgram,
    spec: ConversionSpec,
    args: Sequence[Any] | torch.Tensor,
    kwargs: Mapping[str, Any] | None = None,
    entry: str = "forward",
    progress: Progress = silent,
) -> Network:
    """The network made ready; where entries of its outputs are left out, its claimed part, with `partial` beside it.

    progress: called for every part of the export of the whole network.
    Raises as `chiralize.problem.preparation.prepare`, and UnsupportedError where there are several mirrors.
    """
    if not is_partial(spec):
        return with_lengths(noticed(plain.prepare(model, spec, args, kwargs, entry, progress)))
    if spec.named:
        facts = "entries of outputs are left out, and there are several mirrors"
        raise UnsupportedError(spec.name, facts, "claim all outputs, or give one mirror")
    # The whole network first: the sizes of its outputs tell which entries are claimed.
    whole = plain.prepare(model, sized(spec), args, kwargs, entry, progress)
    parts = claimed_parts(spec, [tensor.shape for tensor in whole.resolved.output_tensors])
    if getattr(whole.module, "opaque", None) is not None:
        facts = "a file of which nothing but answers is known cannot be verified in part"
        raise UnsupportedError(type(whole.module).__name__, facts, "verify the .pt2 or the weights it was made from")
    module, partial = _claimed_part(Partial(spec, whole, parts))
    network = plain.prepare(module, claimed(spec), *whole.example)
    # The rows were dropped in the graph. Where that is not all that the module computes, the module counts.
    if partial.mixed is None and not _agree(network, partial):
        facts = "the graph of the network gives other answers than the network"
        partial = replace(partial, mixed=UnsupportedError(type(whole.module).__name__, facts, _WHOLE))
        network = plain.prepare(ClaimedOutputs(whole.module, parts), claimed(spec), *whole.example)
    words = f"the mirror is claimed of {partial.words}: nothing is claimed of {partial.names}"
    words += _numbering(parts, len(network.resolved.output_tensors))
    handover = replace(network.handover, partial=partial)
    network = replace(network, handover=handover, notes=(*whole.notes, words, *_others(network, whole)))
    network = with_lengths(noticed(network))
    if partial.mixed is None:
        return network
    return network.with_notes(f"{partial.mixed.where}: {partial.mixed.facts}")


def as_run(network: Network) -> Network:
    """The claimed part for verdicts: what is run is the whole network, of which only claimed entries are looked at."""
    if network.handover.partial is None:
        return network
    return replace(
        network, module=ClaimedOutputs(network.handover.partial.whole.module, network.handover.partial.parts)
    )


def entry_of(network: Network) -> str:
    """The method of the user's network that is called."""
    if network.handover.partial is None:
        return network.handover.entry
    return network.handover.partial.whole.handover.entry


def _numbering(parts: Sequence[ClaimedPart], outputs: int) -> str:
    """That outputs behind one that is left out as a whole have other numbers; empty where none is behind it."""
    first = min(left_out_whole(parts), default=outputs)
    return when(first < outputs, "; outputs are numbered without those that are left out")


def _others(network: Network, whole: Network) -> list[str]:
    """Notes on the claimed part that the whole network has not."""
    return [note for note in network.notes if note not in whole.notes]


def _claimed_part(partial: Partial) -> tuple[nn.Module, Partial]:
    """The network without the rows of what is left out; the whole with a choice behind it where that cannot be.

    Returned with the record, to which it adds heads and constants, or why it is mixed.
    """
    whole, parts = partial.whole, partial.parts
    if whole.program is None:
        assert whole.origin.problem is not None
        mixed = UnsupportedError(
            whole.origin.problem.where, f"there is no graph: {whole.origin.problem.facts}", whole.origin.problem.remedy
        )
        return ClaimedOutputs(whole.module, parts), replace(partial, mixed=mixed)
    graph = unhooked(whole.program.module(check_guards=False))
    restriction = Restriction(graph)
    try:
        restriction.apply(parts)
    except UnsupportedError as error:
        return ClaimedOutputs(whole.module, parts), replace(partial, mixed=error)
    partial = replace(partial, heads=tuple(restriction.heads), constants=restriction.constants)
    return graph, replace(partial, unfitted=restriction.unfitted)


def _agree(network: Network, partial: Partial) -> bool:
    """Whether the claimed part answers as the whole network does, on random inputs in the examples' sizes."""
    calls = random_calls(Arguments.of(*partial.whole.example), 4, 0)
    answers = []
    for module in (network.module, ClaimedOutputs(partial.whole.module, partial.parts)):
        with Runner(module) as runner:
            answers.append([results(step)[0] for step in runner.run(list(calls)).steps])
    for ours, theirs in zip(*answers, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True):
                return False
    return True

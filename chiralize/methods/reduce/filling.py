"""Weights filled in by least squares, for hidden spaces of which it is settled what becomes of them.

`reduce` hands over a network ready to be fitted and a design (which units, which pairs), and gets a draft: the network
with its new weights, and how the mirror acts on each. The steps are those of `fitted`: a graph in the new sizes
(`resizing`), checks that nothing outside has to change with it, the fit (`fitting`), and the weights written into

    a copy of the original's own class     "folded", where every size is what it was: at ½ each unit and its image
    the exported graph                     "dense", with weights and arguments of other sizes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram

from chiralize.errors import AsymmetricConstantError, MethodUnavailableError
from chiralize.errors.words import first_line
from chiralize.graph import rewrite
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.model import CapturedModel
from chiralize.graph.rewrite import Moved
from chiralize.graph.tracing import dead_calls
from chiralize.infer import deviation, macs_of
from chiralize.infer.capture import functional
from chiralize.infer.records import RepMap
from chiralize.methods.reduce.choosing import new_size
from chiralize.methods.reduce.design import Batches, Design
from chiralize.methods.reduce.fitting import Fitting
from chiralize.methods.reduce.hidden_maps import HiddenMap, Lifting
from chiralize.methods.reduce.resizing import Resizing
from chiralize.nn.deploy.plain_calls import plain_call
from chiralize.problem.mirror import tables_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft, Fitted, WeightAction
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Ready:
    """A network captured in the sizes of the batches it is fitted on.

    original: as it was given.  obstacle: where and why it cannot be fitted.  tied: as `recurrent.tied` says.
    """

    original: Network
    in_batches: Network
    repmap: RepMap
    batches: Batches
    obstacle: tuple[str, str] | None
    tied: frozenset[int]


@dataclass(frozen=True)
class ByKey:
    """The new weights by their keys in the model, of which tied ones have several, and how mirrors act on them."""

    values: Mapping[str, torch.Tensor]
    action: WeightAction

    @classmethod
    def of(
        cls, captured: CapturedModel, weights: Mapping[str, torch.Tensor], repmap: RepMap, lifting: Lifting
    ) -> ByKey:
        """weights: by leaf."""
        values: dict[str, torch.Tensor] = {}
        hidden: dict[str, TensorRepresentation] = {}
        earlier: tuple[dict[str, TensorRepresentation], ...] = tuple({} for _ in lifting.earlier)
        for leaf in captured.leaves.values():
            if leaf.name in weights:
                rep = repmap.leaves[leaf.name]
                values.update(dict.fromkeys(leaf.names, weights[leaf.name]))
                hidden.update(dict.fromkeys(leaf.names, lifting.representation(rep)))
                for of_one, other in zip(earlier, lifting.earlier_representations(leaf.name, rep), strict=True):
                    of_one.update(dict.fromkeys(leaf.names, other))
        return cls(values, WeightAction(hidden, earlier=earlier))


def fitted(ready: Ready, design: Design, problem: Problem, method: str) -> Draft:
    """All weights by least squares, written into the original or into a graph of other sizes.

    Raises MethodUnavailableError where the form that was asked for cannot hold the new sizes, where callers pass states
    of other sizes, and where a layer cannot be fitted or run; AsymmetricConstantError where a constant is in the way.
    """
    # 1. The new sizes, and what cannot be done in them, before the long fit.
    request = problem.request
    network, repmap = ready.original, design.repmap
    resizing = Resizing(design.captured, repmap, design.lifting)
    same = request.form != "dense" and not resizing.is_needed
    if request.form == "folded" and not same:
        facts = "reduced to this width, hidden spaces or heads have other sizes than the original's"
        raise MethodUnavailableError("--form folded", facts, "use --form dense, another --width, or --method match")
    smaller = resizing.graph()
    _check_states(ready.in_batches, repmap, design.lifting, method)
    _check_constants(smaller, repmap, design.lifting, method)
    # 2. The fit.
    fitting = Fitting(design.captured, smaller, repmap, design.lifting, ready.batches, design.given, problem.both_views)
    try:
        weights, layers = fitting.run(lambda done, count: request.progress("fitting layer by layer", done / count))
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        facts = "a layer cannot be fitted: on the calibration inputs some of what it reads is not finite, or too large"
        raise MethodUnavailableError(f"--method {method}", facts, "look at them, or use --method average") from error
    except RuntimeError as error:  # a graph that was folded for the examples' sizes, run on others
        facts = f"the network as it was captured cannot be run on the calibration inputs: {first_line(error)}"
        remedy = (
            "give examples of as many samples as a call has in use (two or more may leave the batch open); where they "
            "have, use --width 0.5, --method match or average"
        )
        raise MethodUnavailableError(f"--method {method}", facts, remedy) from error
    # 3. Weights into a network. Where the captured graph was rewritten (heads in order), `design.captured` names leaves
    # as the original does, so that keys are the same.
    leaves = design.captured.leaves
    by_key = ByKey.of(design.captured, weights, repmap, design.lifting)
    if same:
        module, program = network.holding(network.restored(by_key.values))
    else:
        module, program = dense(ready.in_batches, resizing, by_key.values)
    # In the sizes of the batches, which differ from the original's in the number of samples: the ratio holds for both.
    grown = macs_of(smaller) / max(macs_of(design.captured), 1) - 1
    result = Converted(
        module,
        method,
        "folded" if same else "dense",
        design.choices,
        action=by_key.action,
        notes=network.notes,
        macs=round(grown * macs_of(network.graph())),
        fitted=tuple(
            Fitted(leaves[layer.weight].names[0], layer.error, leaves[layer.weight].where) for layer in layers
        ),
        moved=_tables_moved(design.captured, weights),
        tables=tables_of(ready.in_batches, ready.repmap),
    )
    return Draft(result, program)


def _tables_moved(captured: CapturedModel, weights: Mapping[str, torch.Tensor]) -> tuple[Moved, ...]:
    """How far the tables are from the original's, of those that have its sizes."""
    tables = [leaf for leaf in captured.weights if leaf.kind == "table" and weights[leaf.name].shape == leaf.shape]
    return tuple(rewrite.moved(leaf, weights[leaf.name]) for leaf in tables)


def _check_constants(graph: CapturedModel, repmap: RepMap, lifting: Lifting, method: str) -> None:
    """Raises AsymmetricConstantError where the mirror of the units that were chosen changes a constant."""
    for leaf in graph.leaves.values():
        if leaf.kind == "constant" and leaf.name in repmap.leaves:
            worst = deviation(leaf.tensor, lifting.representation(repmap.leaves[leaf.name]))
            if worst > 0:
                facts = f"constant {leaf.names[0]} {leaf.shape} changes by {worst:.3g} under the mirror of the units"
                remedy = (
                    f"--method {method} takes none into account: make it a trained parameter, or use --method average"
                )
                refusal = AsymmetricConstantError(str(leaf.where), facts, remedy)
                refusal.settled = False  # other units may be chosen at another width
                raise refusal


def refuse_states(network: Network, repmap: RepMap, width: float) -> None:
    """Raise what `_check_states` raises before anything is measured, where sizes alone say so.

    Of attention and of trunks, which have coordinates of their own, they do not.
    """
    # maps of the right sizes without matrices: only shapes are asked of them
    sizes: list[HiddenMap] = []
    for space in repmap.spaces:
        count = new_size(space.size, width)
        nothing = torch.empty(0)
        sizes.append(HiddenMap((space.key,), {space.key: SignedPermutation.identity(count)}, nothing, nothing))
    _check_states(network, repmap, Lifting(sizes), "reduce")


def _check_states(network: Network, repmap: RepMap, lifting: Lifting, method: str) -> None:
    """Raises MethodUnavailableError where states that are arguments would have other sizes: callers make them."""
    for name, tensor in zip(network.graph().inputs, network.resolved.input_tensors, strict=True):
        rep = repmap.leaves.get(name)
        shape = tensor.shape if rep is None else lifting.representation(rep).shape
        if shape != tensor.shape:
            facts = f"{tensor.where}, a state that callers pass, would have the shape {shape}"
            facts += f" in the place of {tensor.shape}"
            raise MethodUnavailableError(f"--method {method}", facts, "use --width 0.5, or --method match or average")


def dense(
    network: Network, resizing: Resizing, values: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """A graph of the original's ops with weights of other sizes, and None: it has no exported program yet.

    values: weights by their keys.  Raises MethodUnavailableError where the mirror is affine.
    """
    if network.resolved.is_affine:
        facts = "heads or hidden spaces get other sizes here, and pixels (reflect) go with the original's only"
        remedy = "use --method match or average, --width 0.5 if you gave another, or feed x - W/2 without reflect"
        raise MethodUnavailableError("--method reduce", facts, remedy)
    assert network.program is not None
    program = functional(network.program)
    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    dead = dead_calls(module.graph)  # of sizes that nothing has looked at
    for node in reversed(list(module.graph.nodes)):
        if node.name in dead:
            module.graph.erase_node(node)
    resizing.apply(module, values)
    plain_call(module)
    return guarded(module, program, network.origin.word), None

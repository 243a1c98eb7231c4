"""The form of the result: dense symmetric weights, or even and odd blocks where they are faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch.export import ExportedProgram

from chiralize.errors import InternalError, MethodUnavailableError, ModelRunError, UnsupportedError
from chiralize.graph.copies import is_large
from chiralize.graph.dtypes import floats
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.model import CapturedModel
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Runner, results
from chiralize.infer.capture import capture
from chiralize.nn.deploy.export import fitted, try_export
from chiralize.nn.deploy.graphs import with_calls
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.deploy.speed import always, is_faster, is_faster_in_graphs, runs_faster
from chiralize.nn.deploy.swapping import Swapped, Wanted, swapped
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.symmetry.representation import TensorRepresentation

_SHOWN = 3
_ROWS = 64
_SAME, _DIGITS = 1e-3, 16  # of the largest output, or times the coarsest dtype's eps: the two forms round differently


def formed(problem: Problem, draft: Draft) -> Draft:
    """The draft in the form that was asked for, its program and graph where they are known.

    blocks: the user's class with chiral layers.  fused: a graph that calls them, norms of batches folded.  auto: the
    former for a module, the latter for a graph, where it is faster in at least one layer; else as it is.
    Raises MethodUnavailableError where blocks were asked for and the network has none.
    """
    network, request, result = problem.network, problem.request, draft.converted
    asked = request.form in BLOCKS
    dense = result.form in ("folded", "dense") and not result.averaged
    if not asked and (request.form != "auto" or request.product == "weights" or not dense or is_large(result.module)):
        return draft  # of a large network there is no room for another copy, unless that is asked for
    graph = request.form == "fused" or isinstance(result.module, torch.fx.GraphModule)
    graph = graph or (not asked and request.product == "graph")
    by_model = partial(is_faster_in_graphs if graph else is_faster, times=_times(network, result))
    wanted = runs_faster if request.tune else always if asked else by_model
    try:
        captured = _captured(network, draft) if dense else None
        made = _made(network, result, *captured, wanted, graph) if captured else None
    except UnsupportedError as error:
        if asked:
            raise
        return draft.with_notes(f"dense weights: {error.facts}")
    if made is None or not made.layers:
        if not asked:
            return draft if captured is None else replace(draft, program=captured[0], graph=captured[1])
        reasons = [f"{name}: {reason}" for name, reason in (made.kept.items() if made else ())]
        facts = "; ".join(reasons[:_SHOWN]) or f"the result ({result.form}) has no layers of its own that hold blocks"
        raise MethodUnavailableError(f"--form {request.form}", facts, "use --form folded, or leave --form out")
    try:
        _check(network, result.module, made.module)
    except ModelRunError as error:  # the class looks into its layers
        if asked:
            raise MethodUnavailableError(f"--form {request.form}", error.facts, "use --form folded or fused") from error
        return draft.with_notes(f"dense weights: {error.facts}")
    hidden = _with(made.hidden, result)
    notes = (*result.notes, *(() if graph else _trained_apart(made.module, hidden)), _told(made))
    changed = replace(result, module=made.module, form="fused" if graph else "blocks", hidden=hidden, notes=notes)
    return replace(draft, converted=changed, program=None, graph=None)


def _times(network: Network, result: Converted) -> float:
    """How many times the rows of the example layers are judged at.

    Dense weights of the original's sizes cost what the original does, at any batch. Those of other sizes cost up to
    twice as much, at any batch: there a batch that is open is taken to be one of use, not that of an example.
    """
    is_other = result.form == "dense" and network.program is not None and is_open(network.program)
    return max(_ROWS / max(network.rows, 1), 1.0) if is_other else 1.0


def _captured(network: Network, draft: Draft) -> tuple[ExportedProgram, CapturedModel] | None:
    """The result as a program, and its graph; None where there is none."""
    if network.captured is None:
        return None
    program = draft.program or try_export(draft.converted.module, network)
    return None if program is None else (program, capture(program, *fitted(network, False)))


def _made(
    network: Network,
    result: Converted,
    program: ExportedProgram,
    captured: CapturedModel,
    wanted: Wanted,
    graph: bool,
) -> Swapped:
    """The result with twins."""
    hidden = {name: rep for name, rep in result.hidden.items() if name not in result.exchanged}
    if not graph:
        return swapped(result.module, captured, hidden, wanted)
    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    made = with_calls(module, captured, hidden, wanted)
    assert isinstance(made.module, torch.fx.GraphModule)
    return replace(made, module=guarded(made.module, program, network.graph_origin))


def _with(hidden: Mapping[str, TensorRepresentation], result: Converted) -> Mapping[str, TensorRepresentation]:
    """With the weights that the mirror exchanges."""
    return {**hidden, **{name: result.hidden[name] for name in result.exchanged if name in result.hidden}}


def _told(made: Swapped) -> str:
    """What became of the layers, in a sentence."""
    kept = [f"{name} ({reason})" for name, reason in made.kept.items()]
    more = f", and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
    dense = f"; dense: {', '.join(kept[:_SHOWN])}{more}" if kept else ""
    return f"even and odd blocks in {len(made.layers)} of {len(made.layers) + len(kept)} layers{dense}"


def _trained_apart(module: torch.nn.Module, hidden: Mapping[str, TensorRepresentation]) -> tuple[str, ...]:
    """What blocks do not keep symmetric under training, such as positions that are a parameter of the network."""
    own = [name for name, _ in module.named_parameters() if name in hidden and not hidden[name].is_trivial]
    more = f", and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
    told = f"no layer of `chiralize.nn` holds {', '.join(own[:_SHOWN])}{more}: `keep_symmetric` while you train"
    return (told,) if own else ()


def _check(network: Network, dense: torch.nn.Module, blocks: torch.nn.Module) -> None:
    """Raises InternalError unless both forms compute the same on the example."""
    call = (network.args, dict(network.kwargs))
    coarsest = max((torch.finfo(own).eps for own in floats((call, list(dense.parameters())))), default=0.0)
    same = max(_SAME, _DIGITS * coarsest)
    with Runner(dense) as first, Runner(blocks) as second:
        before, after = (results(runner.run([call]).steps[0])[0] for runner in (first, second))
    for place, (own, theirs) in enumerate(zip(before, after, strict=True)):
        if own.is_floating_point() and own.numel():
            apart, scale = float((own - theirs).abs().max()), float(own.abs().max())
            if not apart <= same * scale:
                facts = f"output {place}: the blocks differ from the dense weights by {apart:.3g}, scale {scale:.3g}"
                raise InternalError("--form blocks", facts, "report this model, and use --form folded")

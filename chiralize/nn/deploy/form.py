"""The form of the result: dense symmetric weights, or even and odd blocks where they are faster.

A method hands over a draft with dense symmetric weights. `formed` looks for layers that could hold blocks, chooses
among them by time or by a model of cost, checks that both forms give the same answers, and takes the blocks only if
they are asked for or pay. The certificate proves the result afterwards, whatever its form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch.export import ExportedProgram

from chiralize.errors import ChiralizeError, InternalError, MethodUnavailableError, ModelRunError, UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.copies import is_large
from chiralize.graph.devices import CPU
from chiralize.graph.dtypes import floats
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.model import CapturedModel
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Runner, results
from chiralize.infer.capture import capture
from chiralize.nn.deploy.export import example_call, try_export
from chiralize.nn.deploy.graphs import with_calls
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.deploy.speed import always, is_faster_in_graphs
from chiralize.nn.deploy.swapping import Swapped, Wanted, swapped
from chiralize.nn.deploy.timed import Timing, takes_longer
from chiralize.problem.cost import affordable_samples
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.resizing import resized
from chiralize.problem.result import Converted, Draft
from chiralize.symmetry.representation import TensorRepresentation

SHOWN = 3
_ROWS = 64
_WORK = 1e10  # multiplications of a call that is timed
_OF_ITS_CLASS = "weights alone have to fit the original's class"
_SAME, _DIGITS = 1e-3, 16  # of the largest output, or times the coarsest dtype's eps: the two forms round differently


def formed(problem: Problem, draft: Draft) -> Draft:
    """The draft in the form that was asked for, its program and graph where they are known.

    blocks: the user's class with chiral layers.  fused: a graph that calls them, norms of batches folded.  auto: the
    former for a module, the latter for a graph, where it is faster in at least one layer; else as it is.
    Raises MethodUnavailableError where blocks were asked for and the network has none.
    """
    if problem.request.form == "auto" and problem.request.keeps_sizes:
        return draft.with_notes(*_cost_of_sizes(problem, draft))
    return _in_blocks(problem, draft)


def _in_blocks(problem: Problem, draft: Draft) -> Draft:
    """The draft with blocks where they were asked for or are faster. Raises as `formed`."""
    network, request, result = problem.network, problem.request, draft.converted
    # asked: the user wants blocks, whatever they cost.  dense: symmetric weights that blocks can be made of.
    asked = request.form in BLOCKS
    # Blocks are made of dense weights that are symmetric; an average of two views has none.
    dense = result.form in ("folded", "dense") and not result.averaged
    if not asked and (request.form != "auto" or not dense or is_large(result.module)):
        return draft  # of a large network there is no room for another copy, unless that is asked for
    # In a graph, layers are calls among ops; in a module, twins in the user's own class.
    graph = request.form == "fused" or isinstance(result.module, torch.fx.GraphModule)
    graph = graph or (not asked and request.product == "graph")
    # Which layers hold blocks, as a module or in a graph.
    wanted = _wanted(problem, draft, graph)
    try:
        captured = _captured(network, draft) if dense else None
        blocks = _swapped(network, result, *captured, wanted, graph) if captured else None
    except UnsupportedError as error:
        if asked:
            raise
        return draft.with_notes(f"dense weights: {error.facts}")
    # Nothing to put in blocks: an error if they were asked for; else the draft, with the program that was made for
    # looking.
    if blocks is None or not blocks.layers:
        if not asked:
            return draft if captured is None else replace(draft, program=captured[0], graph=captured[1])
        reasons = [f"{name}: {reason}" for name, reason in blocks.dense.items()] if blocks else []
        facts = "; ".join(reasons[:SHOWN]) or f"the result ({result.form}) has no layers of its own that hold blocks"
        raise MethodUnavailableError(f"--form {request.form}", facts, "use --form folded, or leave --form out")
    try:
        # Blocks are computed otherwise, and must give the same answers on the example.
        check_same(network, result.module, blocks.module)
    except ModelRunError as error:  # the class looks into its layers
        if asked:
            raise MethodUnavailableError(f"--form {request.form}", error.facts, "use --form folded or fused") from error
        return draft.with_notes(f"dense weights: {error.facts}")
    # Layers were chosen one by one; the network as a whole may still be slower.
    if not asked and (dense_draft := _dense_where_faster(problem, draft, blocks.module, captured)) is not None:
        return dense_draft
    # Weights have other names now, and T acts on them otherwise: the record and its notes are made anew.
    action = result.action.with_hidden(blocks.hidden)
    notes = list(result.notes)
    if not graph:
        notes += _trained_apart(blocks.module, action.hidden)
    notes = (*notes, _in_a_sentence(blocks), *why_fused(problem, graph))
    changed = replace(result, module=blocks.module, form="fused" if graph else "blocks", action=action, notes=notes)
    return replace(draft, converted=changed, program=None, graph=None)


def why_fused(problem: Problem, graph: bool) -> tuple[str, ...]:
    """Where `--form blocks` was asked for and a graph is the result: a note that says why; else none."""
    if problem.request.form != "blocks" or not graph:
        return ()
    if isinstance(problem.network.as_given.module, torch.fx.GraphModule):
        reason = "the network came as a graph of ops (a .pt2 or an .onnx), which has no class of the original's"
    else:
        reason = "the network had to be rewritten as a graph of ops, to which the original's class does not belong"
    return (f"form fused instead of blocks: {reason}; chiral layers are called by the graph",)


def _cost_of_sizes(problem: Problem, draft: Draft) -> list[str]:
    """A note on what a file of the original's sizes costs, where the result would get blocks in a graph; else none."""
    network, result = problem.network, draft.converted
    if result.form != "folded" or result.averaged or is_large(result.module):
        return []
    wanted = partial(is_faster_in_graphs, times=_times(network, result))
    try:
        captured = _captured(network, draft)
        blocks = _swapped(network, result, *captured, wanted, True) if captured else None
    except ChiralizeError:  # then a graph has dense weights as well
        return []
    if blocks is None or not blocks.layers:
        return []
    layers = len(blocks.layers) + len(blocks.dense)
    why = "a TorchScript file keeps the original's code" if problem.request.product == "script" else _OF_ITS_CLASS
    return [
        f"dense weights of the original's sizes and at its cost, since {why}: a .pt2 or an .onnx has even and odd "
        f"blocks in {len(blocks.layers)} of {layers} layers, at half the multiplications of those"
    ]


def _wanted(problem: Problem, draft: Draft, graph: bool) -> Wanted:
    """How the layers that get blocks are chosen: all of them, by timing them, or by the cost model.

    In a graph layers share their changes of basis, so a timing of single layers is no measure; the whole is timed
    afterwards.
    """
    if problem.request.form in BLOCKS and not problem.request.tune:
        return always
    by_model = graph and not problem.request.tune
    choose = is_faster_in_graphs if by_model else Timing(_home(problem))
    return partial(choose, times=_times(problem.network, draft.converted))


def _home(problem: Problem) -> torch.device:
    """Where the result will run: a module goes back to where the network was, a file is read on the CPU."""
    if problem.request.product == "graph":
        return CPU
    return problem.request.device


def _dense_where_faster(
    problem: Problem, draft: Draft, blocks: torch.nn.Module, captured: tuple[ExportedProgram, CapturedModel] | None
) -> Draft | None:
    """The draft with its dense weights where blocks take longer, timed as a whole; else None.

    They are timed on the example, or on more samples where the form is chosen for these (`_times`). Networks that a run
    would change are not timed, nor those that take long on so many samples.
    """
    network, result = problem.network, draft.converted
    if captured is None or network.origin.unheld or network.carried:
        return None
    program, graph = captured
    samples = 0 if _times(network, result) == 1.0 else _ROWS
    if affordable_samples(network, _WORK) < samples:
        return None
    try:
        call = resized(network, samples)
    except ModelRunError:  # memory has no room for them
        return None
    share = takes_longer(result.module, blocks, graph, call, _home(problem))
    if share is None:
        return None
    dense = replace(draft, program=program, graph=graph)
    return dense.with_notes(f"dense weights: blocks take {share:.2f} times as long here")


def _times(network: Network, result: Converted) -> float:
    """By how much the rows of the example are multiplied before layers are judged.

    Dense weights of the original's sizes cost what the original does at any batch, so the example decides. Dense
    weights of other sizes cost up to twice as much at any batch. There, if the batch is open, a larger batch is assumed
    than that of an example.
    """
    is_other = result.form == "dense" and network.program is not None and is_open(network.program)
    if is_other:
        return max(_ROWS / max(network.rows, 1), 1.0)
    return 1.0


def _captured(network: Network, draft: Draft) -> tuple[ExportedProgram, CapturedModel] | None:
    """The result as a program, and its graph; None where there is none."""
    if network.captured is None:
        return None
    program = draft.program or try_export(draft.converted.module, network)
    if program is None:
        return None
    return program, capture(program, *example_call(network, False))


def _swapped(
    network: Network,
    result: Converted,
    program: ExportedProgram,
    captured: CapturedModel,
    wanted: Wanted,
    graph: bool,
) -> Swapped:
    """The result with twins in place of layers, or calls of them in place of linear maps."""
    hidden = result.action.on_itself
    if not graph:
        return swapped(result.module, captured, hidden, wanted)
    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    # Without torch's own guards, in whose place the graph checks the sizes that are fixed.
    with_twins = with_calls(module, captured, hidden, wanted)
    assert isinstance(with_twins.module, torch.fx.GraphModule)
    return replace(with_twins, module=guarded(with_twins.module, program, network.origin.word))


def _in_a_sentence(blocks: Swapped) -> str:
    """How many layers hold blocks, and why the others are dense."""
    reasons = [f"{name} ({reason})" for name, reason in blocks.dense.items()]
    dense = f"; dense: {first_of(reasons)}" if reasons else ""
    return f"even and odd blocks in {len(blocks.layers)} of {len(blocks.layers) + len(reasons)} layers{dense}"


def first_of(texts: Sequence[str]) -> str:
    """The first of some texts, and how many more there are."""
    more = when(len(texts) > SHOWN, f", and {len(texts) - SHOWN} more")
    return ", ".join(texts[:SHOWN]) + more


def _trained_apart(module: torch.nn.Module, hidden: Mapping[str, TensorRepresentation]) -> list[str]:
    """A note on parameters outside of layers with blocks, such as positions: training breaks their symmetry."""
    names = [name for name, _ in module.named_parameters() if name in hidden and not hidden[name].is_trivial]
    if not names:
        return []
    return [f"no layer of `chiralize.nn` holds {first_of(names)}: `keep_symmetric` while you train"]


def check_same(network: Network, dense: torch.nn.Module, blocks: torch.nn.Module) -> None:
    """Raises InternalError unless both forms compute the same on the example."""
    call = (network.args, dict(network.kwargs))
    # A network in half precision differs by more than one in float32.
    coarsest = max((torch.finfo(dtype).eps for dtype in floats((call, list(dense.parameters())))), default=0.0)
    same = max(_SAME, _DIGITS * coarsest)
    with Runner(dense) as first, Runner(blocks) as second:
        before = results(first.run([call]).steps[0])[0]
        after = results(second.run([call]).steps[0])[0]
    for index, (output, of_blocks) in enumerate(zip(before, after, strict=True)):
        if output.is_floating_point() and output.numel():
            apart, scale = float((output - of_blocks).abs().max()), float(output.abs().max())
            if not apart <= same * scale:
                facts = f"output {index}: the blocks differ from the dense weights by {apart:.3g}, scale {scale:.3g}"
                raise InternalError("--form blocks", facts, "report this model, and use --form folded")

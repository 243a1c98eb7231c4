"""The flip average as one network of twice the units: [a(x), a(T x)] in the place of a(x), T swapping the halves.

Nothing is fitted: every layer of the original stands twice on the diagonal of a wider one. That is the flip average
exactly wherever units do not look at each other, as in linear maps and functions of single units; a norm over channels
is none, and is found out by running both. The wide network commutes with this mirror, and is reduced for the next one:
what is given up is then given up once, against the average over all views.

`several.stages` calls it where a network has several mirrors and `reduce` is asked for. A layer z = W x becomes

    first:  [z; z'] = [W; W T] x        hidden:  [z; z'] = [[W, 0], [0, W]] [x; x']        last:  y = ½ [W, T W] [x; x']
"""

from __future__ import annotations

from dataclasses import replace

import torch

from chiralize.errors import MethodUnavailableError
from chiralize.graph.running import Runner, results
from chiralize.infer.records import Choice
from chiralize.methods.fill.both_views import averaged
from chiralize.methods.reduce.attention import attentions
from chiralize.methods.reduce.design import factors
from chiralize.methods.reduce.filling import ByKey, dense
from chiralize.methods.reduce.fitting import lifted_weights
from chiralize.methods.reduce.hidden_maps import HiddenMap, Lifting, pairs_and_fixed
from chiralize.methods.reduce.resizing import Resizing
from chiralize.methods.reduce.sites import sites_of
from chiralize.problem.earlier import earlier_by_leaf, keeping
from chiralize.problem.mirror import infer, with_tables
from chiralize.problem.network import Network
from chiralize.problem.result import Converted, Draft
from chiralize.verification.drift import random_inputs

_DIGITS = 256
"""Eps of its largest answer that the wide network may be off the average by."""
_INSTEAD = "use --method match, or --method average, which runs every view"


def widened(network: Network) -> Draft:
    """The flip average of a network as one pass of twice its units. Raises MethodUnavailableError where it is none."""
    # 1. What cannot be written side by side.
    network = with_tables(network)
    inference = infer(network)
    inference.check_constants()
    captured, repmap = network.graph(), inference.result()
    shared = bool(factors(repmap)) or bool(list(attentions(captured, repmap)))
    reasons = {
        "the mirror exchanges whole branches of it": bool(repmap.partners),
        "heads, or other spaces that share an axis, are not kept for several mirrors": shared,
        "it has no hidden space": not repmap.spaces,
        "its mirror is affine (`reflect`)": network.resolved.is_affine,
        next(iter(inference.now.waiting.values()), ""): bool(inference.now.waiting),
    }
    for reason, holds in reasons.items():
        if holds:
            raise _refused(reason)
    # 2. Every unit with its image; the mirrors that the network has already do to images what they do to units.
    keep = keeping(captured, network.others.earlier)
    maps: list[HiddenMap] = []
    choices: list[Choice] = []
    for space in repmap.spaces:
        doubled = pairs_and_fixed(space.key, space.size, range(space.size), ())
        others = tuple((action, action.direct_sum(action)) for action in keep(space, repmap))
        maps.append(replace(doubled, earlier=others))
        choices.append(Choice(space, doubled.actions[space.key], "all units kept, each with its mirror image"))
    # 3. Lifted weights as they are: each fit starts from them, and here none follows.
    lifting = Lifting(maps, earlier_by_leaf(captured.weights, network.others.earlier))
    readers = {site.weight: site.readers for site in sites_of(captured).values()}
    weights = lifted_weights(captured, repmap, lifting, readers)
    by_key = ByKey.of(captured, weights, repmap, lifting)
    module, program = dense(network, Resizing(captured, repmap, lifting), by_key.values)
    _check_average(network, module)
    converted = Converted(
        module,
        "reduce",
        "dense",
        tuple(choices),
        action=by_key.action,
        notes=network.notes,
    )
    return Draft(converted, program)


def _check_average(network: Network, module: torch.nn.Module) -> None:
    """Raises MethodUnavailableError unless the answers of the wide network are those of the flip average."""
    average = averaged(network).module
    calls = random_inputs(network.args, network.kwargs, 2, 3, network.around)
    with Runner(average) as first, Runner(module) as second:
        for call in calls:
            wanted, given = (results(runner.run([call]).steps[0])[0] for runner in (first, second))
            for one, other in zip(wanted, given, strict=True):
                if not one.is_floating_point():
                    continue
                # "not <=", so that an answer that is no number is refused as well
                bound = _DIGITS * torch.finfo(one.dtype).eps * float(one.abs().max())
                if not float((one - other).abs().max()) <= bound:
                    raise _refused("with both views side by side it is not their average: units look at each other")


def _refused(reason: str) -> MethodUnavailableError:
    """The refusal, which holds for every width: another one is not tried."""
    refusal = MethodUnavailableError(
        "--method reduce, several mirrors", f"this network cannot be reduced for them: {reason}", _INSTEAD
    )
    refusal.settled = True
    return refusal

"""Built-in poses for a network that came without inputs: drawn, put into its units, or refused with a reason.

    motion -> camera -> figure -> conventions -> filling        17 joints, before a camera, as the network's skeleton,
                                                                in its unit and axes, in the layout of its input

`fitting` writes one set of drawn poses in all conventions and asks the network which of them it knows (`evidence`);
`built_in` draws others in that convention. `drawn` and `posed` call it (decisions 0040, 0065, 0078).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from chiralize.graph.running import Call, Runner
from chiralize.problem.network import Network
from chiralize.problem.poses.camera import Scene, scene
from chiralize.problem.poses.conventions import Convention, View, conventions
from chiralize.problem.poses.evidence import (
    LEAST_BESIDE,
    LEAST_KNOWN,
    Asked,
    Finding,
    answer_forms,
    count_of,
    has_memory,
    of_answers,
    of_memory,
)
from chiralize.problem.poses.filling import Form, UnfitError
from chiralize.problem.poses.motion import RATE, draw

SAMPLES, FEWEST = 2500, 600
"""Poses or clips to fit on, and how many at least where each has many numbers."""
_MOST, _MOST_BESIDE = 2e6, 6e5
"""Numbers in all samples together; fewer beside inputs of the user, which are to count for more."""
_ASKED, _LEAST_ASKED = 128, 32
"""Poses on which the network is asked, and how many at least where they are long clips."""
_UNSURE, _TIMES_AS_MANY = 0.15, 8
"""How far the share that is explained on so few poses may be off: within this of the bound, more poses are used."""
_BATCHES = 10
"""Batches of the poses that the network is fitted on, some of which are held out. To check the network fewer are
enough.
"""
_SEEDS = 1, 2
"""The seed of the poses on which the network is checked, and that of the poses on which it is fitted."""


@dataclass(frozen=True)
class BuiltIn:
    """Built-in poses as calls of a network.  origin: what they are, and what speaks for them, for a report."""

    calls: Sequence[Call]
    origin: str


def built_in(network: Network, beside: bool = False) -> BuiltIn:
    """Poses that fit what the network remembers or answers. Raises UnfitError with the reason where none do.

    beside: they stand beside inputs of the user, which are right in any case. Then less has to speak for them.
    """
    if len(network.resolved.input_tensors) != 1:
        raise UnfitError(f"the network has {len(network.resolved.input_tensors)} inputs, and built-in poses fill one")
    (tensor,) = network.resolved.input_tensors
    form = Form.of(tensor)
    finding = fitting(network, form, beside)
    most = _MOST_BESIDE if beside else _MOST
    count = int(min(SAMPLES, max(FEWEST, most / prod(form.sizes))))
    view = View(_drawn(network, form, count, _SEEDS[1]), form.points)
    calls = Asked.of(network, form, count_of(network, count), _BATCHES).calls(finding.convention.values(view))
    return BuiltIn(calls, f"{finding.convention.title}; {finding.evidence}")


def fitting(network: Network, form: Form, beside: bool = False) -> Finding:
    """The convention that fits the network best. Raises UnfitError where none fits, or nothing tells."""
    count = max(_ASKED // max(form.frames // 9, 1), _LEAST_ASKED)
    view = View(_drawn(network, form, count, _SEEDS[0]), form.points)
    reflect = {dim: float(center) for dim, center in network.resolved.input_tensors[0].entry.reflect}
    tried = list(conventions(form, reflect))
    answers = answer_forms(network, form)
    asked = Asked.of(network, form, count_of(network, count))
    # Where there is a memory it chooses, and answers have to bear out its best convention alone.
    if has_memory(network):
        findings = [finding for convention in tried for finding in of_memory(asked, view, convention)]
        if answers and findings:
            findings = [_borne_out(asked, answers, view, min(findings, key=_distance))]
    elif answers:
        findings = _by_answers(asked, answers, view, tried)
    else:
        findings = []
    if not findings:
        raise UnfitError(
            "nothing tells in which units and axes the network takes poses: no batch norm remembers any, and it does "
            "not answer with poses in space"
        )
    best = min(findings, key=_distance)
    # Close to the bound, a share that was measured on few poses is measured again on eight times as many.
    if beside and best.remembered and best.share is not None and abs(best.share - LEAST_BESIDE) < _UNSURE:
        more = count_of(network, _TIMES_AS_MANY * count)
        view = View(_drawn(network, form, more, _SEEDS[0]), form.points)
        best = _borne_out(Asked.of(network, form, more), answers, view, best)
    if not best.fits(LEAST_BESIDE if beside else LEAST_KNOWN):
        at_best = f"at best {best.convention.title}: {best.evidence}"
        raise UnfitError(f"built-in poses are not what the network was trained on ({at_best})")
    return best


Answers = Sequence[tuple[int, Form]]


def _distance(finding: Finding) -> float:
    """How far a convention is from what the network knows, to sort by."""
    return finding.distance


def _by_answers(asked: Asked, answers: Answers, view: View, tried: Sequence[Convention]) -> Sequence[Finding]:
    """All conventions in their units, then the best in units between these."""
    findings = list[Finding]()
    open_ones = set[str]()
    with Runner(asked.network.module) as runner:
        for convention in tried:
            findings += of_answers(asked, runner, answers, view, convention)
            if convention.is_open:
                open_ones.add(convention.name)
        best = min(findings, key=_distance, default=None)
        if best is not None and best.convention.name in open_ones:
            findings += of_answers(asked, runner, answers, view, best.convention.between())
    return findings


def _borne_out(asked: Asked, answers: Answers, view: View, best: Finding) -> Finding:
    """The convention that fits best, with the share of the depth that the answers explain, if it can be measured."""
    with Runner(asked.network.module) as runner:
        for said in of_answers(asked, runner, answers, view, best.convention.at(1.0)):
            return replace(best, share=said.share)
    return best


def _drawn(network: Network, form: Form, count: int, seed: int) -> Scene:
    """So many motions before cameras, in the network's number of frames, and more where its batch wants it."""
    return scene(draw(count_of(network, count), form.frames, seed, RATE), seed)

"""A proof for stretches of a network that both views run through: each is an average of the two.

The rules take such a stretch (a region of `graph.regions`) as one op, of which inference only says how T acts on what
flows in and out. That it commutes with these actions is left to be proved here, by `average_proof` on its inner graph.
`judge` calls this after the certificate.
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.graph import regions
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.passes.average import Representations
from chiralize.infer.records import RepMap
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import evaluate
from chiralize.verification.average_proof import why_no_average
from chiralize.verification.verdicts import CertificateVerdict


def representations_around(collapsed: CapturedModel, repmap: RepMap, name: str) -> Representations:
    """How the mirror acts on what flows into a region and out of it, in the order of its reads and of its results.

    collapsed: the graph in which a region is one node.  name: of that node.
    """
    entering = [_concrete(repmap, ref.name) for ref in _node(collapsed, name).reads]
    leaving = [evaluate(rep, {}) for rep in repmap.nodes[name] if rep is not None]
    return entering, leaving


def _node(collapsed: CapturedModel, name: str) -> Node:
    """The node of this name, which the graph has."""
    return next(node for node in collapsed.nodes if node.name == name)


def _concrete(repmap: RepMap, name: str) -> TensorRepresentation:
    """T on a value that a region reads; nothing of it may be left open."""
    rep = repmap.of(name)
    assert rep is not None
    return evaluate(rep, {})


def prove_regions(collapsed: CapturedModel, repmap: RepMap, verdict: CertificateVerdict) -> CertificateVerdict:
    """The verdict of the rules, failed where some region is not an average over both views of what flows into it."""
    if not verdict.passed:
        return verdict
    for name, inner in regions.inner_graphs(collapsed).items():
        where = _node(collapsed, name).where
        entering, leaving = representations_around(collapsed, repmap, name)
        broken = why_no_average(inner, tuple(entering), tuple(leaving), {})
        if broken is not None:
            text = f"{broken} of this stretch is not unchanged when its two views are exchanged"
            return replace(verdict, passed=False, where=where, broken=text)
        verdict = replace(verdict, notes=(*verdict.notes, f"{where}: two views averaged, T exchanges them"))
    return verdict

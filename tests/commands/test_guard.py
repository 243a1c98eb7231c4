"""Sentences of what a conversion is refused for."""

from __future__ import annotations

from typing import Any

from chiralize.commands.guard import unproved_form
from chiralize.errors import ChiralizeError, OffsetError
from chiralize.verification.judge import Verdict


def refusal(unproved: ChiralizeError | None) -> str:
    """What is said of blocks whose verdict has no proof, and this for a reason."""
    nothing: Any = None
    return unproved_form("fused", Verdict(nothing, None, nothing, unproved=unproved)).facts


def test_blocks_without_a_proof_say_what_stood_in_its_way() -> None:
    """A graph that was captured and stops the proof for another reason is not said to be none."""
    where, facts = "output 0 (mat.py:12)", "the point that it is mirrored at cannot be put into a bias of the network"
    assert refusal(OffsetError(where, facts, "...")) == f"no proof for the blocks ({where}: {facts})"
    assert refusal(None) == "no proof for the blocks (the result cannot be captured)"

"""One limb has no mirror: its image is the other one."""

from __future__ import annotations

import pytest

from chiralize.body.tensors import parse_spec
from chiralize.body.tensors.conversion import doubts_of

HEAD = "joints: [JOINTS]\npairs: [PAIRS]\ndims: [q]\nnegate: []\nlateral: y\nSIGNS\ninputs: [{fields: [FIELDS]}]\n"


def said(joints: str, fields: str, pairs: str = "", signs: str = "") -> list[str]:
    text = HEAD.replace("JOINTS", joints).replace("PAIRS", pairs).replace("SIGNS", signs).replace("FIELDS", fields)
    return [doubt for doubt in doubts_of(parse_spec(text)) if "one limb has no mirror" in doubt]


def test_a_leg_with_a_sensor_is_doubted() -> None:
    (doubt,) = said("knee, ankle", "{joints: q}, {vector: acceleration}")
    assert "T leaves knee, ankle as they are" in doubt


@pytest.mark.parametrize(
    ("joints", "fields", "pairs", "signs"),
    [
        ("l, r", "{joints: q}, {vector: v}", "[l, r]", ""),  # two limbs
        ("roll, pitch", "{joints: q}, {vector: v}", "", "signs: {roll: [-1]}"),  # in the plane of the mirror
        ("knee, ankle", "{joints: q}", "", ""),  # the mirror does nothing, which is said elsewhere
        ("knee, ankle", "{joints: q}, {feet: [l, r], kind: vector, name: f}", "", ""),  # feet swap
        ("cart", "{joints: q}, {vector: v}", "", ""),
    ],
)
def test_other_bodies_are_not(joints: str, fields: str, pairs: str, signs: str) -> None:
    assert said(joints, fields, pairs, signs) == []

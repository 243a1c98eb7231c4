"""The examples of docs/observations.md are read, resolved and listed, and its tables are complete."""

import re
from pathlib import Path

import numpy as np
import pytest

from chiralize.body.skeleton.catalog import shipped_robots
from chiralize.body.tensors import ConversionSpec, load_spec, parse_spec
from chiralize.body.tensors.fields import READERS
from chiralize.body.tensors.listing import listed_tensors

TEXT = (Path(__file__).parents[2] / "docs" / "observations.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_read_and_are_mirrors(number: int) -> None:
    """Every example reads back, mirrors twice to itself, and has a name for every entry."""
    spec = parse_spec(EXAMPLES[number])
    assert ConversionSpec.from_dict(spec.to_dict()) == spec and not spec.notices
    tensors = dict(listed_tensors(spec))
    assert tensors
    for rows in tensors.values():
        assert len({row.label for row in rows}) == len(rows)
        partner, sign = np.array([[row.partner, row.sign] for row in rows]).T
        assert (partner[partner] == np.arange(len(rows))).all() and (sign[partner] == sign).all()


def test_every_block_stands_in_the_table_and_in_an_example() -> None:
    shown = set[str]()
    for example in EXAMPLES:
        shown.update(re.findall(r"[{\s-](\w+): ", example))
    for kind in READERS:
        assert f"`{kind}" in TEXT, kind
    unshown = set(READERS) - shown
    others = {
        "wrench",
        "twist",
        "inertia",
        "hands",
        "links",
        "sensors",
        "items",
        "signs",
        "box",
    }  # box: docs/skeletons.md
    assert unshown <= others, unshown


def test_every_robot_stands_in_the_table_with_its_entries() -> None:
    for name in shipped_robots():
        counts = [len(rows) for _, rows in listed_tensors(load_spec(name))]
        assert f"| `{name}` | {counts[0]} + {counts[1]} |" in TEXT


def test_the_listing_shown_is_that_of_the_command() -> None:
    lines = [str(row) for _, rows in listed_tensors(load_spec("ant-v5")) for row in rows]
    shown = re.findall(r"^ {2}\d\d \S+ -> .*$", TEXT, re.M)
    assert len(shown) == 3 and set(shown) <= set(lines)

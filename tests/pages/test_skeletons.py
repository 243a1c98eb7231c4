"""The examples of docs/skeletons.md are read, and its list of keys and tools is complete."""

import re
from pathlib import Path

import pytest

from chiralize.body.skeleton.dialects import TOOLS
from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.body.tensors.reading import ENTRY_KEYS

TEXT = (Path(__file__).parents[2] / "docs" / "skeletons.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_read(example):
    spec = parse_spec(example)
    assert ConversionSpec.from_dict(spec.to_dict()) == spec


def test_every_tool_and_every_entry_key_is_described():
    assert len(EXAMPLES) >= 6
    for word in (*TOOLS, *ENTRY_KEYS):
        assert f"`{word}" in TEXT, word

"""Lint of a whole file: its skeleton, and what it says about tensors and hidden spaces.

`chiralize skeleton lint FILE` calls `lint_specification`. Findings of the skeleton come from `skeleton/lint.py`. Those
of tensors are the doubts that conversion warns of, too, each with a remedy, and some that only a file can have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chiralize.body.skeleton.catalog import find_shipped, is_file, shipped_file
from chiralize.body.skeleton.lint import (
    NEGATE_ONE,
    Finding,
    error_finding,
    lint_file,
    unmirrored_space,
    warning,
)
from chiralize.body.tensors.conversion import ConversionSpec, load_spec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import with_parts
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.plain import SWAPS
from chiralize.body.tensors.one_limb import doubts_of_one_limb
from chiralize.body.tensors.unlike import sides_apart, unlike_swaps
from chiralize.errors import SpecError

_SAYS_SO = "where it is meant, another name for the block says so"


def lint_specification(source: Path | str) -> list[Finding]:
    """Findings of a skeleton or specification file, or of the shipped one of that name, errors first."""
    path = Path(source)
    shipped = None if is_file(path) else find_shipped(str(source))
    if shipped is not None:
        path = shipped_file(shipped.name)
    elif not is_file(path):
        remedy = "check the path, or name a shipped one (chiralize skeleton list)"
        return [Finding("error", str(path), "there is no such file", remedy)]
    findings, skeleton = lint_file(path)
    if skeleton is None:
        return findings
    try:
        spec = load_spec(path)
    except SpecError as error:
        return [error_finding(error), *findings]
    # A doubt about the body and one about a tensor of it may be the same sentence: it is said once.
    messages = {finding.message for finding in findings}
    return findings + [finding for finding in _lint_tensors(spec, path) if finding.message not in messages]


def _lint_tensors(spec: ConversionSpec, path: Path) -> Iterator[Finding]:
    """Warnings about hidden spaces, then about tensors: among each other, and each by itself."""
    if spec.activation == "keep" and spec.hidden.any_negated:
        message = "hidden.negated with activation: keep: spaces before an activation that is not odd become sign-free"
        yield warning(str(path), message, "use `activation: tanh` for the layout of the paper, or negated: 0")
    for where, doubt in unlike_swaps(spec.inputs or (), spec.outputs or (), spec.skeleton):
        yield warning(where or str(path), doubt, "check both: where this is meant, nothing is to be done")
    for where, doubt in sides_apart(spec.inputs or (), spec.outputs or ()):
        yield warning(where or str(path), doubt, "where they mean something else, give them names that tell no side")
    for where, doubt in doubts_of_one_limb(spec.entries, spec.skeleton):
        yield warning(
            where or str(path), doubt, "describe both limbs where both are read; else nothing is to be converted"
        )
    for entry in spec.entries:
        for where, doubt in entry.doubts(spec.skeleton):
            # Doubts that hold a line of a file, in braces, say already what to write.
            is_without_line = "swap" in doubt and "{" not in doubt
            yield warning(where or str(path), doubt, SWAPS if is_without_line else _SAYS_SO)
        # A tensor that says `negate: []`: the doubt about the skeleton does not cover it.
        if entry.override.negate == () and not entry.fields and (doubt := unmirrored_space(entry.body(spec.skeleton))):
            yield warning(entry.where or str(path), doubt, NEGATE_ONE)
        is_input = any(entry is given for given in spec.inputs or ())  # equal entries may be of inputs and outputs
        yield from _about_missing(entry, is_input, str(path))


def _about_missing(entry: TensorEntry, is_input: bool, source: str) -> Iterator[Finding]:
    """Warnings about joints that are stored as 0 where they are missing, and mirrored at another point than 0.

    (0, 0) in a picture that is mirrored at x = 320 goes to (640, 0): a place in the picture, and no longer missing.
    source: the file, where the entry has no line.
    """
    blocks_reflect = any(block.reflect for block in with_parts(entry.fields or ()) if isinstance(block, Joints))
    if not entry.reflect and not blocks_reflect:
        return
    if is_input and entry.missing == "none":
        message = "reflect without `missing`: joints stored as 0 where they are missing would be mirrored to 2 c"
        yield warning(entry.where or source, message, "add `missing: zero` where the data has such joints")
    if entry.missing == "zero":
        yield warning(
            entry.where or source,
            "missing joints stored as 0 are not mirrored by an affine T: what is proved holds without such joints",
            "fill them in before the network, or convert a class around it that reads centred coordinates",
        )

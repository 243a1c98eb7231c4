"""The specification of a conversion: which axis of which tensor is what, and what hidden spaces should look like.

    file ── reading ──> TensorEntry ─┐
    file ── conversion ──> ConversionSpec ── resolution (shapes) ──> ResolvedSpec: T on every input and output

`entries`, `layout` and `fields/` are the words of a file as records; `axes`, `guess`, `reversal` and `one_tensor` make
representations of them; `claims` is about outputs that are left out; `acting`, `listing`, `linting`, `unlike` and
`one_limb` show a specification and question it, before any network is there.
"""

from chiralize.body.tensors.conversion import ConversionSpec, load_spec, parse_spec
from chiralize.body.tensors.entries import BodyOverride, Classes, TensorEntry
from chiralize.body.tensors.fields import Field
from chiralize.body.tensors.hidden import HiddenPolicy, impose
from chiralize.body.tensors.layout import Layout, parse_layout
from chiralize.body.tensors.resolution import resolve
from chiralize.body.tensors.resolved import Handed, ResolvedSpec, ResolvedTensor

__all__ = [
    "BodyOverride",
    "Classes",
    "ConversionSpec",
    "Field",
    "Handed",
    "HiddenPolicy",
    "Layout",
    "ResolvedSpec",
    "ResolvedTensor",
    "TensorEntry",
    "impose",
    "load_spec",
    "parse_layout",
    "parse_spec",
    "resolve",
]

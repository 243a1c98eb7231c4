"""The specification of a conversion: which axis of which tensor is what, and what hidden spaces should look like."""

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

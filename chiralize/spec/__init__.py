"""The specification of a conversion: which axis of which tensor is what, and what hidden spaces should look like."""

from chiralize.spec.conversion import ConversionSpec, load_spec, parse_spec
from chiralize.spec.entries import Classes, Field, TensorEntry
from chiralize.spec.hidden import HiddenPolicy, impose
from chiralize.spec.layout import Layout, parse_layout
from chiralize.spec.resolution import Handed, ResolvedSpec, ResolvedTensor, resolve

__all__ = [
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

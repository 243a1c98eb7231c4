"""`chiralize.flip_test`: both views of a network averaged, which results are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.commands.belonging import refuse_claims_in_part
from chiralize.commands.on_examples import prepared
from chiralize.graph.devices import CPU, device_of, moved
from chiralize.graph.isolation import exclusive
from chiralize.graph.rewrite import with_modes
from chiralize.methods.several.stages import all_views
from chiralize.nn.two_view import TwoView
from chiralize.problem.sampling import naming_the_mean
from chiralize.problem.several import under_each


@exclusive
def flip_test(
    model: torch.nn.Module | ExportedProgram,
    spec: str | Path | Mapping[str, Any] | Skeleton | ConversionSpec,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    entry: str = "forward",
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
) -> TwoView:
    """A module that answers (f(x) + T f(T x)) / 2: the flip average of a network as it is now, of which it has a copy.

    Where the specification names several mirrors it averages all views.

    It is what `chiralize(model, spec, ..., method="average")` gives, without being verified, for comparisons: on the
    device of the model, in eval mode.  Arguments as those of `chiralize`.
    Raises SpecError, ModelRunError, UsageError, and NoRuleError for a network that draws random numbers.
    """
    loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
    refuse_claims_in_part(loaded, "flip_test")
    network = prepared(model, loaded, example_inputs, example_kwargs, entry)
    with naming_the_mean(network.handover.advice):
        both = with_modes(all_views(under_each(network)).converted.module)
    home = device_of(model)
    if home != CPU:
        both = moved(both, home)
    assert isinstance(both, TwoView)
    return both

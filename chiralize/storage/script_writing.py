"""TorchScript modules with other weights, as the bytes of a file.

Results of TorchScript files keep the original's code (decision 0038): a copy of the module gets the converted weights.
A weight may stand in several places of a module, under two names (tied) or in a list of weights (`_flat_weights` of an
LSTM). So it is written in place, or every list is linked anew to the new tensors, found by the address of the old ones.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chiralize.errors import ExportError
from chiralize.graph.copies import replaced
from chiralize.graph.holdings import held_tensors
from chiralize.graph.silence import quiet


def with_values(script: Any, values: Mapping[str, Tensor]) -> Any:
    """A copy of a TorchScript module that holds these tensors, by name; names that it does not have are left out.

    Written in place, so that tied weights stay tied.  Raises ExportError for a tensor of another size.
    """
    result = replaced(script, {})
    held = tensors_in_script(result)
    with torch.no_grad():
        for name, value in values.items():
            if name not in held:
                continue
            if held[name].shape != value.shape:
                facts = f"{name} has the sizes {list(value.shape)}, in the file {list(held[name].shape)}"
                raise ExportError("TorchScript", facts, "write a .pt2, which holds other sizes")
            held[name].copy_(value)
    return result


def on_parameters_of(script: Any, other: Any) -> Any:
    """A copy of a TorchScript module with states of its own, on the parameters of another one of the same class."""
    result = replaced(script, {})
    parts = dict(result.named_modules())
    # shared: the other's parameter by the address of the one that it replaces.
    shared: dict[int, Tensor] = {}
    for path, part in other.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            shared[parts[path]._c.getattr(name).data_ptr()] = parameter
            parts[path]._c.setattr(name, parameter)
    _relink(result, shared)
    return result


def in_float64(script: Any) -> Any:
    """A copy that computes in float64, lists of its weights included, which `double()` leaves as they are."""
    result = replaced(script, {})
    before = {name: tensor.data_ptr() for name, tensor in result.named_parameters()}
    result.double()
    _relink(result, {before[name]: tensor for name, tensor in result.named_parameters()})
    return result


def _relink(script: Any, tensors: Mapping[int, Tensor]) -> None:
    """Let lists of weights (`_flat_weights` of recurrent layers) hold these in place of those at their addresses."""
    for part in script.modules():
        kind: Any = torch._C.ConcreteModuleType.from_jit_type(part._c._type())
        for name, attribute in kind.get_attributes().items():
            if str(attribute[0] if isinstance(attribute, tuple) else attribute) == "List[Tensor]":
                held = part._c.getattr(name)
                part._c.setattr(name, [tensors.get(tensor.data_ptr(), tensor) for tensor in held])


def tensors_in_script(script: Any) -> Mapping[str, Tensor]:
    """Parameters, buffers and attributes that are tensors, by every name that they have."""
    named = dict(held_tensors(script))
    named |= script.named_parameters(remove_duplicate=False)
    named |= script.named_buffers(remove_duplicate=False)
    return named


def script_bytes(script: Any, extra: Mapping[str, str]) -> bytes:
    """The file that torch.jit.load reads, in C++ as in Python. extra: texts that travel along, by name."""
    stream = io.BytesIO()
    with quiet():
        texts = {name: text.encode("utf-8", "surrogateescape") for name, text in extra.items()}
        torch.jit.save(script, stream, _extra_files=texts)
    return stream.getvalue()

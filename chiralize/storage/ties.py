"""Weights that are one tensor under several names, as an encoder and a decoder that share their matrix.

A file may hold each of the names or only one of them (safetensors stores no tensor twice).  So a network is compared
with a file by the first name of every tensor, and filled under all of them.  For a network with a.weight = b.weight:

    untied       {"a.weight": tensor}
    with_ties    {"a.weight": x} becomes {"a.weight": x, "b.weight": x}
"""

from __future__ import annotations

from collections.abc import Mapping

import torch


def untied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of a network by name; of those that are one tensor, the first: files may leave the others out."""
    firsts = set(_first_names(module).values())
    return {name: tensor for name, tensor in module.state_dict().items() if name in firsts}


def with_ties(state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state with all names of tensors that have several."""
    return {name: state[other] for name, other in _first_names(module).items() if other in state} | state


def tied_names(names: Mapping[str, str], module: torch.nn.Module) -> dict[str, str]:
    """The name in the file of each weight of the network, also of those that are one tensor with another."""
    return {name: names[other] for name, other in _first_names(module).items() if other in names} | dict(names)


def _first_names(module: torch.nn.Module) -> dict[str, str]:
    """For every name of a weight, the first name that the same tensor has."""
    firsts: dict[int, str] = {}  # by the identity of the tensor
    everything = module.state_dict(keep_vars=True)  # without, each name has a tensor object of its own
    for name, tensor in everything.items():
        firsts.setdefault(id(tensor), name)
    return {name: firsts[id(tensor)] for name, tensor in everything.items()}

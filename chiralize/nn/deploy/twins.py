"""The chiral twin of a torch layer, by its exact type: a subclass may compute something else.

A twin is built from how T acts on the layer's weights: `fc.weight` under (rep_out, rep_in) gives `Linear(rep_in,
rep_out)`. Then it must say the same of its weights as was asked for, and takes the layer's weights as a state.
`TWINS` lists the layers that have one; adding a layer is one function and one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from chiralize import nn as chiral
from chiralize.graph.isolation import Isolated
from chiralize.nn import ChiralModule
from chiralize.nn.along import reversal
from chiralize.nn.reversed_conv import ConvTranspose2d, ReversedConv2d
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

Reps = Mapping[str, TensorRepresentation]


def twin_of(layer: nn.Module, representations: Reps) -> ChiralModule | None:
    """A layer that computes the same from blocks, in the same mode; None where there is none.

    representations: of the layer's parameters and buffers by name; its weights have to be left alone by them.
    Raises AsymmetricWeightError.
    """
    twin = unfilled_twin_of(layer, representations)
    if twin is None:
        return None
    twin.load_state_dict({name: value.detach() for name, value in layer.state_dict(keep_vars=True).items()})
    twin.requires_grad_(any(parameter.requires_grad for parameter in layer.parameters()))
    return twin.train(layer.training)


def unfilled_twin_of(layer: nn.Module, representations: Reps) -> ChiralModule | None:
    """A twin in the layer's dtype and on its device, whose own weights are still to be loaded; None where it has none.

    representations: as `twin_of` takes them; the layer's weights are not looked at.
    """
    build = TWINS.get(type(layer))
    floating = {name: value for name, value in layer.state_dict().items() if value.is_floating_point()}
    # All weights of the layer must be known: a twin could not say how the others transform.
    if build is None or not floating or not set(floating) <= set(representations):
        return None
    with Isolated():  # what a new layer draws for its weights is overwritten
        twin = build(layer, representations)
    # Where weights transform otherwise than a twin's do, there is none.
    if twin is None or any(rep != representations[name] for name, rep in twin.dense_representations().items()):
        return None
    return twin.to(next(iter(floating.values())))


def _sides(rep: TensorRepresentation) -> tuple[Representation, Representation] | None:
    """(in, out) of a weight "out in kernel..."; None where T moves its kernel."""
    if not all(axis.is_trivial for axis in rep.axes[2:]) or rep.sign < 0:
        return None
    return rep.axes[1], rep.axes[0]


def _linear(layer: nn.Linear, reps: Reps) -> ChiralModule | None:
    """The twin of a linear layer."""
    sides = _sides(reps["weight"])
    if sides is None:
        return None
    return chiral.Linear(*sides, layer.bias is not None)


def _conv(layer: Any, reps: Reps) -> ChiralModule | None:
    """The twin of a convolution without groups, also where T reverses an axis of its kernel."""
    sides = _sides(reps["weight"])
    # T moves the kernel itself: of pictures it may reverse an axis, of frames there is no twin.
    if layer.groups == 1 and sides is None and type(layer) is nn.Conv2d:
        return _reversed_conv(layer, reps["weight"])
    if sides is None or layer.groups != 1:
        return None
    kind = chiral.Conv1d if type(layer) is nn.Conv1d else chiral.Conv2d
    settings = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return kind(*sides, *settings, layer.bias is not None, layer.padding_mode)


def _reversed_conv(layer: nn.Conv2d, rep: TensorRepresentation) -> ChiralModule | None:
    """The twin of a convolution of which T reverses one axis of the kernel."""
    mirror = _reversed_axis(rep)
    if mirror is None or (isinstance(layer.padding, str) and layer.padding_mode != "zeros"):
        return None
    out, into = rep.axes[:2]
    settings = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return ReversedConv2d(into, out, *settings, layer.bias is not None, layer.padding_mode, mirror=mirror)


def _transposed_conv(layer: nn.ConvTranspose2d, reps: Reps) -> ChiralModule | None:
    """The twin of a transposed convolution that T reverses, where its windows fill whole strides."""
    rep = reps["weight"]
    mirror = _reversed_axis(rep)
    if mirror is None or layer.groups != 1 or any(layer.output_padding):
        return None
    if not ConvTranspose2d.fits(layer, mirror):
        return None
    # torch has the weight of a transposed convolution as "in out h w".
    into, out = rep.axes[:2]
    settings = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return ConvTranspose2d(into, out, *settings, layer.bias is not None, mirror=mirror)


def _reversed_axis(rep: TensorRepresentation) -> str | None:
    """The one axis of a kernel "h w" that T reverses, None where it does anything else to the kernel."""
    moved = [axis for axis, kernel in zip("hw", rep.axes[2:], strict=True) if not kernel.is_trivial]
    if rep.sign < 0 or len(moved) != 1:
        return None
    kernel = rep.axes[2 + "hw".index(moved[0])]
    if kernel != reversal(kernel.size):
        return None
    return moved[0]


def _batch_norm(layer: Any, reps: Reps) -> ChiralModule | None:
    """The twin of a batch norm, by how T acts on its means; None where it has neither statistics nor weights."""
    signed = reps.get("running_mean", reps.get("bias"))
    if signed is None:
        return None
    kind = chiral.BatchNorm1d if type(layer) is nn.BatchNorm1d else chiral.BatchNorm2d
    return kind(signed.axes[0], layer.eps, layer.momentum, layer.affine, layer.track_running_stats)


def _layer_norm(layer: nn.LayerNorm, reps: Reps) -> ChiralModule | None:
    """The twin of a norm over one last axis, without signs."""
    rep = reps.get("weight")
    if rep is None or len(rep.axes) != 1 or not rep.is_sign_free:
        return None
    return chiral.LayerNorm(rep.axes[0], layer.eps, layer.bias is not None)


def _recurrent(layer: Any, reps: Reps) -> ChiralModule | None:
    """The twin of an LSTM or GRU, by the representations of its input, state and, projected, hidden units."""
    entering, state = reps["weight_ih_l0"].axes[1], reps["weight_hh_l0"].axes[1]
    settings = layer.num_layers, layer.bias, layer.batch_first, layer.dropout, layer.bidirectional
    if layer.proj_size:
        return chiral.LSTM(entering, reps["weight_hr_l0"].axes[1], *settings, rep_proj=state)
    kind = chiral.LSTM if type(layer) is nn.LSTM else chiral.GRU
    return kind(entering, state, *settings)


def _attention(layer: nn.MultiheadAttention, reps: Reps) -> ChiralModule | None:
    """The twin of self-attention whose inner channels T moves as heads times dimensions."""
    # Not the one weight for query, key and value, or keys that the layer adds itself.
    if not layer._qkv_same_embed_dim or layer.bias_k is not None or layer.add_zero_attn:
        return None
    inner = reps["out_proj.weight"].axes[1]
    parts = inner.action.factor(layer.num_heads)
    if parts is None:
        return None
    heads, dims = map(Representation.of, _sign_free_first(*parts))
    settings = layer.num_heads, layer.dropout, layer.in_proj_bias is not None, layer.batch_first
    return chiral.MultiheadAttention(reps["in_proj_weight"].axes[1], *settings, heads, dims)


def _sign_free_first(heads: SignedPermutation, dims: SignedPermutation) -> tuple[SignedPermutation, SignedPermutation]:
    """Both factors, a sign that all heads share moved to the dimensions: (-H) x D = H x (-D)."""
    if heads.is_negated:
        return -heads, -dims
    return heads, dims


Build = Callable[[Any, Reps], "ChiralModule | None"]
TWINS: Mapping[type[nn.Module], Build] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _transposed_conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
    nn.MultiheadAttention: _attention,
}

"""What does an equivariant linear map hold, with or without kernel axes? An even and an odd block.

All linear layers and convolutions of this folder, and the gates of recurrent ones, are made from `ChiralMap`. A weight
that commutes with T is block-diagonal in the isotypic bases of its two axes. Between two pairs its four entries are two
numbers A and B, and the blocks hold one each, E and O:

    [[A, B], [B, A]]      E = A + B,  O = A - B        (u, v) -> even E (u + v) / 2, odd O (u - v) / 2

So a layer of 8 to 6 units in pairs has blocks of 4 to 3, 24 numbers in place of 48.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.nn.basis import ROOT, Butterfly
from chiralize.nn.module import ChiralModule, dense_weight
from chiralize.symmetry.representation import Representation, TensorRepresentation

Apply = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]


class ChiralMap(ChiralModule):
    """An equivariant map of one axis, W = T_out W T_in: it is block-diagonal in the isotypic bases of its two axes.

        E_out x E_in + O_out x O_in weights, E_out biases        (dense: n_out x n_in, n_out)

    weight_even, weight_odd: "out in kernel...", orthonormal coordinates, so that |weight_even|^2 + |weight_odd|^2 =
    |W|^2: a step of SGD, weight decay and a bound on the norm of gradients do what they do to the dense weight.
    bias_even: the bias of a pair, 1/sqrt 2 of that of a fixed entry (a step of SGD moves it twice as far).
    Initialised so that the weight has the variance of the dense layer's default, U(-1/sqrt n, 1/sqrt n), n = fan in.
    """

    weight_even: Tensor
    weight_odd: Tensor
    bias_even: Tensor | None
    weight = dense_weight("weight")  # "out in kernel..."

    def __init__(
        self,
        rep_in: Representation,
        rep_out: Representation,
        kernel: Sequence[int],
        bias: bool,
        factory: dict[str, Any],
    ) -> None:
        super().__init__()
        self.rep_in, self.rep_out, self.kernel = rep_in, rep_out, tuple(kernel)
        device = factory.get("device")
        self.into, self.out = Butterfly(rep_in, device), Butterfly(rep_out, device)
        self.hold("weight_even", torch.empty(self.out.even, self.into.even, *kernel, **factory))
        self.hold("weight_odd", torch.empty(self.out.odd, self.into.odd, *kernel, **factory))
        self.hold("bias_even", torch.empty(self.out.even, **factory) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias as large as the dense layer does by default: both blocks uniform, and independent."""
        # Between pairs E = A + B with independent A, B in U(-b, b), so E has twice their variance; between a pair and
        # a fixed entry it is sqrt 2 of the entry of W.
        fan = self.rep_in.size * prod(self.kernel)  # entries that one row of the dense weight reads
        bound = fan**-0.5 if fan else 0.0
        with torch.no_grad():
            for weight in (self.weight_even, self.weight_odd):
                weight.uniform_(-bound * ROOT, bound * ROOT)
                weight[self.out.pairs :, self.into.pairs :] /= ROOT  # between fixed entries: it is the entry of W
            if self.bias_even is not None:
                self.bias_even.uniform_(-bound, bound)
                self.bias_even[self.out.pairs :] /= ROOT

    def map(self, x: Tensor, dim: int, apply: Apply) -> Tensor:
        """Apply the two blocks, each to its coordinates. apply(x, weight, bias): the plain linear op."""
        even, odd = self.split(x, dim)
        # One of them may have no entries, of which `apply` could make nothing of the right shape.
        filled = even if even.shape[dim] else odd
        y_even = _block(apply, even, filled, self.weight_even, self.bias_even, dim)
        return self.out.join(y_even, _block(apply, odd, filled, self.weight_odd, None, dim), dim)

    def split(self, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates of the input along `dim`."""
        return self.into.split(x, dim)

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        """The dense weight, and the bias where there is one."""
        weights = {"weight": self.out.join(*self.into.spread(self.weight_even, self.weight_odd, 1), 0)}
        bias = self.bias
        return weights if bias is None else {**weights, "bias": bias}

    @property
    def bias(self) -> Tensor | None:
        """The dense bias "out"."""
        if self.bias_even is None:
            return None
        return self.out.join(self.bias_even, self.bias_even.new_zeros(self.out.odd), 0)

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        kernel = map(Representation.trivial, self.kernel)
        reps = {"weight": TensorRepresentation((self.rep_out, self.rep_in, *kernel))}
        return reps if self.bias_even is None else {**reps, "bias": TensorRepresentation((self.rep_out,))}

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The blocks of a dense weight "out in kernel..." and the even bias of a dense one, of those that are given."""
        blocks: dict[str, Tensor] = {}
        if "weight" in values:
            even, odd = self.out.split(values["weight"], 0)
            # Both butterflies are sqrt 2 from orthonormal, hence twice; without roots sums stay exact.
            blocks["weight_even"] = self.into.split(even, 1)[0] * 2
            blocks["weight_odd"] = self.into.split(odd, 1)[1] * 2
        if "bias" in values:
            blocks["bias_even"] = self.out.split(values["bias"], 0)[0]
        return blocks

    @property
    def factory(self) -> dict[str, Any]:
        """Device and dtype of the weights, as torch's layers take them."""
        return {"device": self.weight_even.device, "dtype": self.weight_even.dtype}

    def extra_repr(self) -> str:
        """How T acts on the input and on the output, and whether there is a bias."""
        return f"{self.rep_in.summary()} -> {self.rep_out.summary()}, bias={self.bias_even is not None}"


def _block(apply: Apply, x: Tensor, filled: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """apply(x, weight, bias), also for a block without inputs or without outputs.

    Convolutions refuse a block without outputs, and answer one without inputs with no channels at all. So the op is run
    on one channel of `filled` with zeros for weights, which gives the right sizes of all other axes, and the answer is
    cut to as many rows as the block has. filled: coordinates that are not empty.
    """
    rows, columns, *kernel = weight.shape
    if rows and columns:
        return apply(x, weight, bias)
    nothing = weight.new_zeros(max(rows, 1), 1, *kernel)
    return apply(filled.narrow(dim, 0, 1), nothing, bias if rows else None).narrow(dim, 0, rows)


class Linear(ChiralMap):
    """y = x W' + b with T_out W T_in = W and T_out b = b, at E_out E_in + O_out O_in multiplications a row.

    x: "... in" under rep_in.  Returns "... out" under rep_out.  factory: device and dtype.  See `ChiralMap` for its
    parameters.  Raises RepresentationSizeError for an axis of another size.

    >>> import torch
    >>> from chiralize.nn import hidden
    >>> layer = Linear(hidden(8), hidden(6))
    >>> x = torch.randn(5, 8)
    >>> torch.equal(layer(x.roll(4, -1)), layer(x).roll(3, -1))
    True
    """

    def __init__(self, rep_in: Representation, rep_out: Representation, bias: bool = True, **factory: Any) -> None:
        super().__init__(rep_in, rep_out, (), bias, factory)
        self.in_features, self.out_features = rep_in.size, rep_out.size

    def forward(self, x: Tensor) -> Tensor:
        """x W' + b."""
        return self.map(x, -1, F.linear)

    def folded(self) -> nn.Linear:
        """torch's layer with the dense weights."""
        bias = self.bias_even is not None
        return self.folded_into(nn.Linear(self.in_features, self.out_features, bias, **self.factory))


class InvariantHead(Linear):
    """A linear map onto what T leaves alone (scores of classes): the mirrored input gives the same answer."""

    def __init__(self, rep_in: Representation, size: int, bias: bool = True, **factory: Any) -> None:
        super().__init__(rep_in, Representation.trivial(size), bias, **factory)

"""The even and odd blocks of an equivariant linear map, with or without kernel axes.

All linear layers and convolutions of this folder, and the gates of recurrent ones, are made from `ChiralMap`. A
weight that commutes with T is block-diagonal in the isotypic bases of its two axes. Between two pairs its four
entries are two numbers A and B, and the blocks hold one each, E and O:

    [[A, B], [B, A]]      E = A + B,  O = A - B        (u, v) -> even E (u + v) / 2, odd O (u - v) / 2

So a layer of 8 to 6 units in pairs has blocks of 4 to 3, 24 numbers in place of 48.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from chiralize.nn._module import ChiralModule, dense_weight
from chiralize.nn.butterfly import HALF, ROOT, Butterfly
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
    read, written = "into", "out"
    """Paths of what takes x apart, and of the butterfly of the answer's axis."""

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
        self.in_halves = self.into.in_halves and self.out.in_halves and self.into.runs == self.out.runs == 1
        self._hold("weight_even", torch.empty(self.out.even, self.into.even, *kernel, **factory))
        self._hold("weight_odd", torch.empty(self.out.odd, self.into.odd, *kernel, **factory))
        self._hold("bias_even", torch.empty(self.out.even, **factory) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias as large as the dense layer does by default: both blocks uniform, and independent."""
        # Between pairs E = A + B with independent A, B in U(-b, b), so E has twice their variance; between a pair and
        # a fixed entry it is sqrt 2 of the entry of W.
        bound = self.fan**-0.5 if self.fan else 0.0
        pairs = self.out.pairs
        with torch.no_grad():
            for weight in (self.weight_even, self.weight_odd):
                weight.uniform_(-bound * ROOT, bound * ROOT)
                weight[pairs:, self.into.pairs :] /= ROOT  # from a fixed entry to a fixed one: it is the entry of W
            if self.bias_even is not None:
                self.bias_even.uniform_(-bound, bound)
                self.bias_even[pairs:] /= ROOT

    @property
    def fan(self) -> int:
        """Entries that torch takes the bound of the dense layer's first weights from: those read by one of its rows."""
        return self.rep_in.size * prod(self.kernel)

    def map(self, x: Tensor, dim: int, apply: Apply, scaled: bool = True) -> Tensor:
        """Apply the two blocks, each to its coordinates. apply(x, weight, bias): the plain linear op.

        scaled: False where `apply` multiplies its product by the butterfly's scale.
        """
        return self.out.join(*self.parts(x, dim, apply, self.bias_even, scaled), dim)

    def parts(
        self, x: Tensor, dim: int, apply: Apply, bias: Tensor | None, scaled: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Even and odd coordinates of the answer along `dim`, before they are joined. bias: of the even ones.

        A bias that T leaves alone has no odd coordinates.
        """
        reader = getattr(self, self.read)
        even, odd = reader.split(x, dim, scaled)
        # One of them may have no entries, of which `apply` could make nothing of the right shape.
        filled = even if even.shape[dim] else odd
        y_even = _block(apply, even, filled, self.weight_even, bias, dim)
        # Nothing odd comes in (T leaves the input alone), so nothing odd goes out: zeros at the cost of no product.
        if not self.into.odd and self.out.odd == self.out.even:
            return y_even, torch.zeros_like(y_even)
        return y_even, _block(apply, odd, filled, self.weight_odd, None, dim)

    def take_scale(self) -> None:
        """Take the butterfly's half up into the weights, for inference: the same numbers, bit for bit, one pass less.

        The weights are then half of the orthonormal ones, so training would take other steps. Twice is once.
        """
        with torch.no_grad():
            for weight in (self.weight_even, self.weight_odd):
                weight *= self.into.scale
        self.into.scale = 1.0

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        """The dense weight, and the bias where there is one."""
        between_halves = self.into.in_halves and self.out.in_halves
        weights = {"weight": self._quarters() if between_halves else self._spread()}
        bias = self.bias
        if bias is None:
            return weights
        return {**weights, "bias": bias}

    def _spread(self) -> Tensor:
        """The dense weight, by the butterflies of its two axes."""
        return self.out.join(*self.into.spread(self.weight_even, self.weight_odd, 1), 0)

    def _quarters(self) -> Tensor:
        """The dense weight between plain pairs in halves, with the same numbers as `_spread` in half as many passes.

        [[A, B], [B, A]] with A = (E + O) / 2 and B = (E - O) / 2.
        """
        # Each run has its own quarters: "run pair run pair kernel..." for rows and columns.
        rows, columns, scale = self.out.runs, self.into.runs, self.into.scale
        shape = (rows, -1, columns, self.into.even // columns, *self.kernel)
        even, odd = self.weight_even.reshape(shape) * scale, self.weight_odd.reshape(shape)
        same, across = torch.add(even, odd, alpha=scale), torch.sub(even, odd, alpha=scale)
        # "run side pair run side pair kernel..." after both stacks, which is the order of the dense axes.
        above, below = torch.stack([same, across], 3), torch.stack([across, same], 3)
        return torch.stack([above, below], 1).view(self.out.size, self.into.size, *self.kernel)

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
        if self.bias_even is None:
            return reps
        return {**reps, "bias": TensorRepresentation((self.rep_out,))}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The blocks of a dense weight "out in kernel..." and the even bias of a dense one, of those that are given."""
        blocks: dict[str, Tensor] = {}
        if "weight" in values:
            between_halves = self.into.in_halves and self.out.in_halves
            even, odd = (self._of_quarters if between_halves else self._of_spread)(values["weight"])
            # 1, or a half where the weights have taken the butterfly's half up (`take_scale`).
            unit = HALF / self.into.scale
            blocks["weight_even"], blocks["weight_odd"] = even * unit, odd * unit
        if "bias" in values:
            blocks["bias_even"] = self.out.split(values["bias"], 0)[0]
        return blocks

    def _of_spread(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The two blocks of a dense weight: the way back from `_spread`."""
        even, odd = self.out.coordinates(weight, 0)
        return self.into.coordinates(even, 1)[0], self.into.coordinates(odd, 1)[1]

    def _of_quarters(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The way back from `_quarters`, E = A + B and O = A - B: without roots, so that it is exact where sums are."""
        rows, columns = self.out.runs, self.into.runs
        parts = weight.reshape(rows, 2, -1, columns, 2, self.into.even // columns, *self.kernel)
        same, across = parts[:, 0, :, :, 0], parts[:, 0, :, :, 1]
        shape = (self.out.even, self.into.even, *self.kernel)
        return (same + across).reshape(shape), (same - across).reshape(shape)

    @property
    def _factory(self) -> dict[str, Any]:
        """Device and dtype of the weights, as torch's layers take them."""
        return {"device": self.weight_even.device, "dtype": self.weight_even.dtype}

    def extra_repr(self) -> str:
        """How T acts on the input and on the output, and whether there is a bias."""
        return f"{self.rep_in.summary()} -> {self.rep_out.summary()}, bias={self.bias_even is not None}"


def _block(apply: Apply, x: Tensor, whole: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """apply(x, weight, bias), also for a block without inputs or without outputs.

    Convolutions refuse a block without outputs, and answer one without inputs with no channels at all. So the op is
    run on one channel of `whole` with zeros for weights, which gives the right sizes of all other axes, and the
    answer is cut to as many rows as the block has. whole: coordinates that are not empty.
    """
    rows, columns, *kernel = weight.shape
    if rows and columns:
        return apply(x, weight, bias)
    nothing = weight.new_zeros(max(rows, 1), 1, *kernel)
    return apply(whole.narrow(dim, 0, 1), nothing, bias if rows else None).narrow(dim, 0, rows)

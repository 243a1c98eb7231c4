"""Pointwise functions, and which spaces they may follow.

If T negates a channel, f(-x) has to be -f(x) there: tanh is odd, ReLU is not. Where T only moves entries any
function commutes with it.
"""

from __future__ import annotations

from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, UsageError
from chiralize.symmetry.representation import Representation

ODD = (nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Identity)


class Pointwise(nn.Module):
    """A function of every entry alone: any where the mirror only moves entries, an odd one where it negates some.

    >>> import torch
    >>> from chiralize.nn import hidden
    >>> Pointwise(nn.ReLU(), hidden(4))(torch.tensor([-1.0, 1.0, 0.0, 2.0])).tolist()
    [0.0, 1.0, 0.0, 2.0]

    function: a torch activation (hardtanh with bounds that are opposite numbers counts as odd).
    Raises NegatedChannelsError for a function that is not odd on a space with signs, UsageError for one that has
    a weight for each channel, such as a PReLU with many.
    """

    def __init__(self, function: nn.Module, representation: Representation) -> None:
        super().__init__()
        self.function, self.representation = function, representation
        # A number per channel would have to be the same for both of a pair, which nothing here sees to.
        if any(parameter.numel() > 1 for parameter in function.parameters()):
            facts = f"{type(function).__name__} has parameters of its own for every channel"
            raise UsageError("chiralize.nn.Pointwise", facts, "use one number for all channels")
        if not representation.is_sign_free and not _is_odd(function):
            negated = int((representation.action.sign < 0).sum())
            facts = f"{type(function).__name__} is not odd, and {negated} of {representation.size} entries are negated"
            raise NegatedChannelsError(
                "chiralize.nn", facts, "use an odd function such as tanh, or a space without signs"
            )

    def forward(self, x: Tensor) -> Tensor:
        """The function of every entry of x."""
        return self.function(x)


def _is_odd(function: nn.Module) -> bool:
    """Whether f(-x) = -f(x) for a torch activation, as far as its exact class tells."""
    if isinstance(function, nn.Hardtanh):
        return function.min_val == -function.max_val and type(function) is nn.Hardtanh
    return type(function) in ODD

"""Two networks beside each other: claimed outputs from one, the rest, of which nothing is claimed, from the other.

Of an output (a b c d) of which a and c are claimed, the equivariant network gives (a c) and the original (a b c d);
put together and sorted they are (a b c d) again. Used where a user claims the mirror of some entries only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from chiralize.body.tensors.claims import ClaimedPart, left_out_whole


class Beside(nn.Module):
    """The answers of an equivariant network, completed by entries of the original's.

    claimed: answers without those entries.  whole: answers with all of them, in the same structure.
    """

    def __init__(self, claimed: nn.Module, whole: nn.Module, parts: Sequence[ClaimedPart]) -> None:
        super().__init__()
        self.claimed, self.whole = claimed, whole
        self.left_out = left_out_whole(parts)
        self.outputs = tuple(part.output for part in parts if not part.is_whole)
        for part in parts:
            # From [claimed, unclaimed] entries to the output's own order: the inverse of that permutation.
            order = torch.tensor([*part.claimed, *part.unclaimed]).argsort()
            self.register_buffer(f"rest_{part.output}", torch.tensor(part.unclaimed), persistent=False)
            self.register_buffer(f"order_{part.output}", order, persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The answer in the structure of the original's."""
        claimed = iter(pytree.tree_leaves(self.claimed(*args, **kwargs)))
        whole, structure = pytree.tree_flatten(self.whole(*args, **kwargs))
        leaves = list[torch.Tensor]()
        for output, leaf in enumerate(whole):
            # Outputs that are left out as a whole are not among the answers of the claimed network.
            leaves.append(leaf if output in self.left_out else next(claimed))
        for output in self.outputs:
            rest = whole[output].index_select(-1, self.get_buffer(f"rest_{output}"))
            joined = torch.cat([leaves[output], rest], -1)
            leaves[output] = joined.index_select(-1, self.get_buffer(f"order_{output}"))
        return pytree.tree_unflatten(leaves, structure)

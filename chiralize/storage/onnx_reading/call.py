"""One node of an ONNX graph, ready to be called: what an operator of the table gets beside the values of its inputs.

`reading` makes a NodeCall of every node of a file, once; `module.run` calls the operator with it whenever the network
runs. The node

    Conv(x, w)  pads = [1, 1], strides = [2], set 17    ->    NodeCall("Conv", "/conv1", {"pads": [1, 1], ...}, 17)

Operators ask it for attributes (`get`, `numbers`), and refuse through it what torch has no counterpart of (`require`),
so that every refusal names the node and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from chiralize.errors import CaptureError
from chiralize.storage.onnx_reading.sizes import Value, listed

MOST_ENTRIES = 2**28
"""Entries of a result that a node may ask for by numbers alone: 1 GiB in float32."""
MOST_NUMBERS = 2**16
"""Entries of an array of Python numbers, which take ten times the memory of a tensor's. Sizes are a handful."""
# What leads on from any refusal: the method `average` needs the answers of the file only, not its operators.
REMEDY = "export it again with torch.onnx.export, or use --method average, which runs the file as it is"


@dataclass(frozen=True)
class NodeCall:
    """A node without its inputs. kind: the operator.  attributes: plain values by name.  opset: version of operators.

    outputs: how many results it has, those that nobody reads included.
    """

    kind: str
    name: str
    attributes: Mapping[str, Any]
    opset: int
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what ONNX takes where it is not given."""
        return self.attributes.get(name, default)

    def refuse(self, facts: str) -> CaptureError:
        """The error for a node that is used in a way which has no counterpart here."""
        return CaptureError(f"ONNX node {self.name!r} ({self.kind})", facts, REMEDY)

    def require(self, condition: bool, facts: str) -> None:
        """Raise that error unless the condition holds."""
        if not condition:
            raise self.refuse(facts)

    def check_size(self, sizes: Sequence[Any]) -> None:
        """Refuse a result of absurd size: a few bytes of a file can ask for any. Raises CaptureError.

        sizes: of its axes. Open ones, which are symbols while the graph is captured, count as 1.
        """
        entries = prod(size for size in sizes if isinstance(size, int))
        self.require(entries <= MOST_ENTRIES, f"its result has {entries:,} entries")

    def check_numbers(self, entries: int) -> None:
        """Refuse an array of Python numbers of this many entries, where no sizes are computed from so many."""
        self.require(entries <= MOST_NUMBERS, f"its result has {entries:,} numbers that sizes are computed from")

    def numbers(self, name: str, values: Sequence[Value], position: int, since: int) -> list[Any] | None:
        """Whole numbers that are an attribute in old operators, and an input `since` a version; None where left out.

        name: of the attribute.  position: of the input.  Axes of ReduceSum: an attribute up to set 12, then input 1.
        """
        if self.opset < since:
            given = self.attributes.get(name)
            if given is None:
                return None
            return list(given)
        # Inputs at the end that are left out are not even in the list; those in the middle are None.
        value = values[position] if position < len(values) else None
        if value is None:
            return None
        return listed(value)


Operator = Callable[[NodeCall, Sequence[Any]], Any]
"""From a node and the values of its inputs (None where one is left out) to its result, or a tuple of them."""

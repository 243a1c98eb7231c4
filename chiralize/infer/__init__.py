"""How every tensor of a captured network transforms, found by running the op rules to a fixpoint."""

from chiralize.infer._calls import macs_of
from chiralize.infer._constants import deviation
from chiralize.infer._inference import Inference, random_numbers

__all__ = ["Inference", "deviation", "macs_of", "random_numbers"]

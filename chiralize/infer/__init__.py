"""How every tensor of a captured network transforms, found by running the op rules to a fixpoint."""

from chiralize.infer.calls import macs_of
from chiralize.infer.constants import deviation
from chiralize.infer.inference import Inference, random_numbers

__all__ = ["Inference", "deviation", "macs_of", "random_numbers"]

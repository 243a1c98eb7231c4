"""Gaps of a network and its data as they stand: by output, by pair of joints, by layer, by kind of sample.

`chiralize audit` measures all of it: `outputs`, `layers`, `data`, `memory`, of pictures `alignment` and `peaks`. Then
`advice` says whether to convert. Nothing is changed.
"""

from chiralize.verification.asymmetry.advice import advise
from chiralize.verification.asymmetry.data import data_asymmetry, leanings
from chiralize.verification.asymmetry.layers import layer_gaps
from chiralize.verification.asymmetry.outputs import asymmetry, asymmetry_along

__all__ = ["advise", "asymmetry", "asymmetry_along", "data_asymmetry", "layer_gaps", "leanings"]

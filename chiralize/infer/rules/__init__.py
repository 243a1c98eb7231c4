"""How each operation meets the mirror: one rule per ATen op, in one place.

A rule states constraints between the representations of an op's inputs, parameters and outputs. The files of this
package that do not start with an underscore register rules when imported; `registry()` imports them all.
"""

"""How each operation meets the mirror: one rule per ATen op, in one place.

A rule states constraints between the representations of an op's inputs, parameters and outputs. The files of this
package that do not start with an underscore register rules when imported; `registry()` imports them all.

    @rule("dot", "`k, k ->`")                        its name and what it says, for docs/rules.md
    @op("dot", sample(normal(4), normal(4)))         an ATen op with arguments on which the tests try all mirrors
    def dot(call): ...                               constraints by `call.solver`, the answer for the outputs

`_families` has these decorators and what many rules share, `_equation` the rules that are one line of axes, `_turning`
those of windows along an axis that may be reversed, and `_table` writes the documentation.
"""

"""Several mirrors at once: a conversion for each in turn, none of which disturbs those before it.

`stages` has the order; what a later mirror must leave alone is in `problem.earlier`, orbits are in `symmetry.orbits`.
"""

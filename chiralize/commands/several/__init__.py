"""`convert` and `verify` where a specification names several mirrors.

A quadruped may have two, A (left to right) and B (front to back), which commute. A network that commutes with both
commutes with A B as well: four views of an input, 2^k with k mirrors. `converting` takes the steps of
`commands.convert` once for each mirror, `judging` and `verifying` judge under each, `figures` measures how far a result
is from the mean over all views, and `as_it_is` hands back what needs no conversion (decision 0044).
"""

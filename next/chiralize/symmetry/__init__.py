"""The mirror as mathematics: involutions, representations, projections, T on tensors. No network is known here.

involution      T on one axis: who is whose partner, and which entries change their sign
representation  T on an axis as a product of such, and on a tensor as one for each axis
action          T on tensors, also about a centre; the Reynolds operator: the nearest weight that T leaves alone
isotypic        the basis in which T is +1 and -1
orbits          several mirrors at once
"""

"""One rule an op: how its operands and its result have to transform so that it commutes with the mirror."""

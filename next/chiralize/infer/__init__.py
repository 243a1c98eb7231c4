"""How does every tensor of a network transform under the mirror? One rule an op, and a solver."""

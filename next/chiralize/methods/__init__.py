"""How hidden units become partners, and how weights are filled in."""

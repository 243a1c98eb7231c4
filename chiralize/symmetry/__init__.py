"""The mirror as mathematics: involutions, representations, projections, T on tensors. No network is known here."""

"""Recurrent networks that act on what they did before: whether rho along sequences tells how they fare in the loop."""

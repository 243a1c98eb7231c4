"""Equations between representations, and the unknown involutions in them."""

"""Equations between representations, and what solves them."""

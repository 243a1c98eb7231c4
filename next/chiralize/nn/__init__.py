"""Layers that commute with the mirror whatever their weights are, and the average of both views as a module."""

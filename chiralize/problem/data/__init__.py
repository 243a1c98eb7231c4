"""Inputs: read, cut into batches, checked, drawn, scattered."""

"""Policies in an environment, from starts and from their mirror images."""

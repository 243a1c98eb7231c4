"""The order of the steps, a file per command; no other folder knows it."""

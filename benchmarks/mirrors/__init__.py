"""How well networks can tell their mirror from wrong ones."""

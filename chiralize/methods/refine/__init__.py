"""Trained further on the original's answers, with or without labels."""

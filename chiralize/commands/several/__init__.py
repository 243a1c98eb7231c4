"""`convert` and `verify` where a specification names several mirrors."""

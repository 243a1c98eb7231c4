"""Several mirrors at once: a conversion for each in turn, none of which disturbs those before it."""

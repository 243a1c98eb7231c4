"""Ways to convert: what each method tries, in which order `auto` takes them, and what is done to their weights."""

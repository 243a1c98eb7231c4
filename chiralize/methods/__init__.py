"""Ways to convert: what each method tries, in which order `auto` takes them, and what is done to their weights.

`auto` decides, the average included; `ways/` has a file for each method, where a new one goes.
"""

"""Ways to convert: what each method tries, in which order `auto` takes them, and what is done to their weights.

`auto` decides, the average included; `ways/` has a file for each method, where a new one goes.

    auto -> a candidate -> best -> drafts -> ways/METHOD -> fill/ or reduce/ -> measured, the best trained on (refine/)

Before any of it: what a result is to aim at (`targets`, `known_side`), how many inputs that takes (`within_minutes`),
and what cannot be done whatever is tried (`ruled_out`).
"""

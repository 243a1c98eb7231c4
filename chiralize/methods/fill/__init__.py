"""How weights are filled in once it is settled how hidden spaces transform.

projection   the nearest weights that commute with the mirror
both_views   no weight changes: the original twice, and the mean of both answers

The third way, least squares, has a folder of its own (`reduce`).
"""

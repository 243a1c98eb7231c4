"""One file a method, of its name, with a record `METHOD`: how it makes drafts, and what others have to know of it.

The record's fields are explained at `problem.problem.Method`. `registry` finds the files by itself.
"""

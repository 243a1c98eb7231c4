"""What the mirror is for in programs of others: a file per program, which imports that program when it is used.

Nothing else of the package imports these files, and they use of it what is public.
"""

"""Judgements of a network: run on x and T x, proved by rules, compared with its original. No method is known here.

`numeric` runs, `certificate` proves by rules, `average_proof` proves an average, `drift` compares. `judge` asks them.
"""

"""Judgements of a network: run on x and T x, proved by rules, compared with its original. No method is known here."""

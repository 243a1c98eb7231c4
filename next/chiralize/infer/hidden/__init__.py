"""Which hidden units are partners: as the specification imposes it, or as their weights say?"""

"""Is a network equivariant, and how far is it from its original?"""

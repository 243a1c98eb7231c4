"""Policies in an environment, from starts and from their mirror images.

environment, robot     an environment that begins at a start or at its mirror image
acting                 a network as a policy, in both views
probe, rivals          is the environment its own mirror image, and if not, under a mirror near T?
running, film          what the original, its flip average and the result do there
recording              what a policy sees, as inputs to fit on
records, advising      the figures, and what they say of a conversion
"""

"""Conversion by least squares: units of the trained network, each with its mirror image, and readers fitted to them.

groups      which axes are hidden spaces, and what may be done to them
moments     what the units do on x and T x, and what the outputs owe to them
choosing    which units are kept
lifting     tensors of the network as tensors of the smaller, symmetric one
sites       weights that are fitted: their features, their targets
fitting     layer by layer on the layers already fitted
"""

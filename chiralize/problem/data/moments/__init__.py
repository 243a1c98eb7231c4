"""The mean and the covariance of a network's inputs, as its own normalisations remember them."""

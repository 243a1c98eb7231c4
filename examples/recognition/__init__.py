"""Skeleton action recognition: spatio-temporal convolutions, whole."""

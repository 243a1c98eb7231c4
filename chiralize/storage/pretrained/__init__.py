"""Weights that ship with chiralize: a trained temporal pose lifter, real inputs to calibrate with, its evaluation."""

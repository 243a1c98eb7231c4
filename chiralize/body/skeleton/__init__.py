"""Skeletons: which joints are partners, which coordinates the mirror negates, and the files that say so."""

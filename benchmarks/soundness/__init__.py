"""Attacks on what chiralize claims: random networks, planted faults, damaged files, killed writes."""

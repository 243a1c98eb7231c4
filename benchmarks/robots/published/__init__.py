"""Policies that somebody else has trained and published, on robots whose models somebody else has published."""

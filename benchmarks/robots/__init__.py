"""Mirrors of robots beside those that their trainers wrote by hand."""

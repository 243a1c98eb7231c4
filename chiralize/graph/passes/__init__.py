"""Changes of a graph that keep what it computes: averages over both views, centring, symmetric norms."""

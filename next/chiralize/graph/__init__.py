"""A network as a graph: exported, read, run, and changed without changing its answers."""

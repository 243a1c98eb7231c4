"""Example inputs of a network where the user gives none: its sizes by what it says of itself, the rest by trial."""

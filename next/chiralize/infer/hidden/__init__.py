"""Which hidden units are partners: imposed by the specification, or matched by their weights."""

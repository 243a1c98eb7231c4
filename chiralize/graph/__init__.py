"""A network as a graph: captured, run, changed, watched. What the mirror is to a graph begins in `infer`."""

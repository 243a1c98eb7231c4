"""Public robots read from their files, against the simulator."""

"""Public robots read from their files, mirrors written by hand, and policies converted and run in closed loop."""

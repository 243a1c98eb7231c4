"""Public robots read from their files, and policies trained on them, converted and run in the closed loop."""

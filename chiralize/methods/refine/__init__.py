"""A draft brought nearer to the original's answers, without labels: Gauss-Newton, then gradient descent."""

"""Every study of the examples in one go: `python -m examples.reproduce`."""

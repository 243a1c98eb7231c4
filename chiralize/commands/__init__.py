"""The one place that knows the order of the steps, a file per command: capture, infer, assign, convert, verify."""

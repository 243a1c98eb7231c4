"""ONNX files read back op by op: a table of operators, and the module that runs them in torch."""

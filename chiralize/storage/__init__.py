"""Reading of model and data files, writing of outputs: no file can run code, no output is ever half written."""

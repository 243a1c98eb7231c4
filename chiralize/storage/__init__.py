"""Reading of model and data files, writing of outputs: no file can run code, no output is ever half written.

`load` reads what users hand in, by the formats of `formats/`, where a new one goes; `save` writes a `.pt2` and weights.
"""

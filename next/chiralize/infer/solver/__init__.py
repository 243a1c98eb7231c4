"""Who must transform like whom? Unknown axes, what is demanded of them, and equations between them."""

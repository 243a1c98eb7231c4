"""Ways to choose and fill the weights of an equivariant network, one file each."""

"""Where the cells of maps lie over the columns of a picture, and networks changed so that the reversal fits them."""

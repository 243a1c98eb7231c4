"""Networks on pictures: the average of both views beside the flip test of their toolboxes."""

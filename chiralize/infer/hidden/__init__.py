"""The fate of hidden units: which are each other's mirror images, or that none are."""

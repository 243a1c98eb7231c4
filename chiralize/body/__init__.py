"""What the mirror does to a body: skeletons, and tensors laid out over their joints. Nothing here needs torch."""

"""What is to be done: a network, its mirror, what the user asked for, and inputs to judge by."""

"""Policies trained by reinforcement on MuJoCo's robots, converted, and run in the closed loop from mirrored starts."""

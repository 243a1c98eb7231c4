"""Robots: their files read and asked in the simulator; policies trained, converted, and run in the closed loop."""

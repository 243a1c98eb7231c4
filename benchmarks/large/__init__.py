"""Large networks: how long a conversion takes, and how much memory."""

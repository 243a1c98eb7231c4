"""The network, its mirrors, what is asked for, and the inputs."""

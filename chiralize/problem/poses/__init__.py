"""Built-in poses: drawn human motion, put into the skeleton, the layout and the units of a network's inputs."""

"""2D to 3D pose lifting: VideoPose3D's networks, the published data files, and the paper's Tables 1 and 2."""

"""What does the mirror do to a body, an observation, a picture?"""

"""Robots read from MuJoCo XML and URDF: which joints are partners, with which signs, and what is asymmetric.

`opening` compiles a file, `reading` turns the compiled model into a plain `Robot`, `deriving` finds the mirror in its
places, axes and names, `asymmetric` lists what the model does not share between its sides, `mending` makes that equal,
`stepping` asks the simulator, `checking` compares a specification with all of it. No torch; MuJoCo is an extra and is
imported where a file is opened.
"""

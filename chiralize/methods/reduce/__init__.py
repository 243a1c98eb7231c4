"""Conversion by least squares: units of the trained network, each with its mirror image, and readers fitted to them.

reduce       the order of the steps; refuses networks that cannot be reduced
moments      what the units do on x and T x, and what the outputs owe to them; `gram`: such sums in pieces
design       what becomes of every hidden space
  attention    heads: dimensions in the order of what they carry
  trunk        residual trunks between norms: directions instead of units
  elimination  units that go, the cheapest first; `choosing`: in pairs, or mixed
hidden_maps  tensors of the network as tensors of the smaller, symmetric one
joints_in_place  both views along the channels, for layers that mix joints; `views_inside`: joints with coordinates
filling      weights for a design
  sites        layers that are fitted: their features, their targets; `recurrent`: cells
  tasks        samples taken in batch by batch, then weights come out; `ridge`: least squares
  fitting      layer by layer on the layers already fitted
  resizing     a graph in the new sizes
"""

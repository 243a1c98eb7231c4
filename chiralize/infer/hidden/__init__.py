"""The fate of hidden units: which are each other's mirror images, or that none are.

Inference leaves the axes of hidden units open. Here they are closed: `assign` asks a chooser for every free space and
hands its choice back to inference. Choosers are `Imposed` (by rank, as the specification says), `FromWeights` and
`FromActivations` (by what the units of a trained network do). The latter two score every two units (`match`,
`activations`) and look for the involution with the best total score (`pairing`; among those that commute with other
mirrors, `quotient`).
"""

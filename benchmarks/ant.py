"""MuJoCo's Ant as a skeleton: four legs, of which the mirror exchanges 1 and 4, 2 and 3."""

BODY = """
joints: [hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3, hip_4, ankle_4]
pairs: [[hip_1, hip_4], [ankle_1, ankle_4], [hip_2, hip_3], [ankle_2, ankle_3]]
dims: [q]
negate: []
signs: {hip_1: [-1], hip_2: [-1], hip_3: [-1], hip_4: [-1]}
lateral: y
"""
TORQUES = """
outputs:
  - layout: b (j d)
    joints: [hip_4, ankle_4, hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3]
    dims: [q]
"""
"""Of the actuators, which are listed in another order than the joints."""

"""A trot for the Ant, written by hand: a function of the observation alone, and the teacher of the policies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SPECIFICATION = Path(__file__).with_name("ant.yaml")
FIELDS = {
    "height": slice(0, 1),
    "orientation": slice(1, 5),
    "joint_angles": slice(5, 13),
    "velocity": slice(13, 16),
    "angular_velocity": slice(16, 19),
    "joint_velocities": slice(19, 27),
    "turn": slice(27, 28),
    "clock": slice(28, 30),
}
"""Places in an observation; units: m, rad, m/s and rad/s."""
OBSERVATIONS, ACTIONS = 30, 8
PERIOD = 0.8
"""Seconds that a trot takes."""
ACTUATED = np.array([6, 7, 0, 1, 2, 3, 4, 5])
"""Which joint every actuator turns."""

_SIDE = np.array([1.0, 1.0, -1.0, -1.0])  # +1 for the legs at y > 0; a leg's hip angle times this moves its foot back
_BEAT = np.array([1.0, -1.0, 1.0, -1.0])  # legs 1 and 3 swing together, and 2 and 4
_BEND = np.array([1.0, -1.0, -1.0, 1.0])  # sign of the ankle angle that lowers the foot
_STRIDE, _STANCE, _LIFT = 0.355, 0.714, 0.118  # rad
_STIFFNESS, _DAMPING = 0.364, 0.028  # torque of full scale per rad and per rad/s
_STEER, _CORRECT = 1.621, 0.348  # s: share of the stride per commanded turn and per turn that is missing


def clock(time: float | Array) -> Array:
    """Sine and cosine of the gait's phase, `... 2`; time in seconds."""
    phase = 2 * np.pi * np.asarray(time) / PERIOD
    return np.stack([np.sin(phase), np.cos(phase)], axis=-1)


def trot(observations: Array) -> Array:
    """Torques as a share of the largest, in the order of the actuators.  observations: `... 30`; returns `... 8`.

    Diagonal legs swing together, a proportional-derivative controller follows the swing, and the legs on the inside of
    a turn take shorter steps. It commutes with the mirror to the last bit.
    """
    seen = {name: observations[..., place] for name, place in FIELDS.items()}
    sine, cosine = seen["clock"][..., :1], seen["clock"][..., 1:]
    turning = seen["angular_velocity"][..., 2:]
    steer = np.clip(_STEER * seen["turn"] + _CORRECT * (seen["turn"] - turning), -1, 1)
    hips = _SIDE * _STRIDE * (1 - _SIDE * steer) * _BEAT * sine
    ankles = _BEND * (_STANCE - _LIFT * np.maximum(0, -_BEAT * cosine))
    wanted = np.stack([hips, ankles], axis=-1).reshape(*hips.shape[:-1], 8)
    torques = _STIFFNESS * (wanted - seen["joint_angles"]) - _DAMPING * seen["joint_velocities"]
    return np.clip(torques, -1, 1)[..., ACTUATED]

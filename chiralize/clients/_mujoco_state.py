"""The mirror on a MuJoCo model's (qpos, qvel), as far as the skeleton of a policy's specification says it.

qpos of a robot with a floating base and hinges is (x y z, w x y z, joint, joint, ...), qvel (v, omega, joint, ...).
If the lateral axis is y, T negates y of the place, x and z of the quaternion's vector part, v_y, omega_x and omega_z.
Each joint goes to its partner, with the sign that the skeleton has for it. `check_env` mirrors states so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec
from chiralize.body.tensors.fields.quantities import Quantity
from chiralize.errors import UsageError
from chiralize.symmetry.involution import SignedPermutation

Array = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]
Pair = tuple[Array, Array]
StateMirror = Callable[[Array, Array], Pair]
_FREE, _BALL = 0, 1  # mjtJoint
_WHERE = "check_env"
_REMEDY = "give state=, a function of (qpos, qvel) that answers with both of the mirrored state"


def state_mirror(model: Any, spec: ConversionSpec) -> StateMirror:
    """T on (qpos, qvel) of a floating base and of joints that are the skeleton's, by name, or all in its order.

    Raises UsageError where the skeleton does not say it.
    """
    body = spec.skeleton
    if len(body.dims) != 1 or body.lateral is None:
        facts = f"the skeleton {body.name} has no single number per joint, or no lateral axis"
        raise UsageError(_WHERE, facts, _REMEDY)
    joints = [index for index in range(model.njnt) if model.jnt_type[index] != _FREE]
    names = [model.joint(index).name for index in joints]
    if any(model.jnt_type[index] == _BALL for index in joints):
        raise UsageError(_WHERE, "the model has ball joints", _REMEDY)
    rows = _rows(body, names)
    action = body.merged_action()
    # Two rows each: where an entry comes from, and its sign.
    position, velocity = np.zeros((2, model.nq), np.int64), np.zeros((2, model.nv), np.int64)
    for index in range(model.njnt):
        if model.jnt_type[index] == _FREE:
            _write_base(position, velocity, (int(model.jnt_qposadr[index]), int(model.jnt_dofadr[index])), body.lateral)
    for index, row in zip(joints, rows, strict=True):
        partner = joints[rows.index(int(action.partner[row]))]
        position[:, model.jnt_qposadr[index]] = model.jnt_qposadr[partner], action.sign[row]
        velocity[:, model.jnt_dofadr[index]] = model.jnt_dofadr[partner], action.sign[row]
    turns = SignedPermutation(*position), SignedPermutation(*velocity)

    def turn(qpos: Array, qvel: Array) -> Pair:
        """The mirrored state."""
        return turns[0].sign * qpos[turns[0].partner], turns[1].sign * qvel[turns[1].partner]

    return turn


def _rows(body: Skeleton, names: Sequence[str]) -> list[int]:
    """The skeleton's joint of every joint of the model, by name; by position where no name is in common.

    Raises UsageError where some names are, and others not: their order would be a guess.
    """
    if set(names) == set(body.joints) and len(names) == len(body.joints):
        return [body.joints.index(name) for name in names]
    if len(names) == len(body.joints) and not set(names) & set(body.joints):
        return list(range(len(names)))
    missing = sorted(set(names) ^ set(body.joints))
    facts = f"joints of the model and of the skeleton {body.name} are not the same ({', '.join(missing[:5])}, ...)"
    raise UsageError(_WHERE, facts, _REMEDY)


def _write_base(position: Table, velocity: Table, at: tuple[int, int], lateral: str) -> None:
    """A floating base: a place and a unit quaternion w x y z, whose vector part is a pseudo-vector; velocities.

    at: where it begins in qpos (7 numbers) and in qvel (6). A vector keeps its components but for the lateral one, a
    pseudo-vector (axis of a turn) keeps the lateral one alone.
    """
    polar, axial = Quantity("vector").signs(lateral), Quantity("axial").signs(lateral)
    first, moving = at
    position[:, first : first + 7] = np.arange(first, first + 7), [*polar, 1, *axial]
    velocity[:, moving : moving + 6] = np.arange(moving, moving + 6), [*polar, *axial]

"""Errors of 3D poses, in the protocols of the field. Poses are `frame joint 3`; results have the unit of the poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mpjpe(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Protocol 1: the distance between answer and target, mean over the joints. Returns `frame`."""
    return np.linalg.norm(_double(answers) - _double(targets), axis=-1).mean(-1)


def p_mpjpe(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Protocol 2: MPJPE after the similarity (rotation, scale, translation) that is best in the least squares sense.

    With the centred poses A and B and the singular value decomposition AᵀB = U S Vᵀ the rotation is U D Vᵀ and the
    scale tr(D S) / |A|²; D turns the last axis where UVᵀ would be a reflection (Umeyama, 1991). Returns `frame`.
    """
    found, wanted = _double(answers), _double(targets)
    centred, aim = found - found.mean(-2, keepdims=True), wanted - wanted.mean(-2, keepdims=True)
    u, sizes, vt = np.linalg.svd(np.swapaxes(centred, -1, -2) @ aim)  # frame coord coord
    turn = np.ones_like(sizes)
    turn[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * turn[..., None, :]) @ vt
    energy = np.square(centred).sum((-1, -2))
    scale = (turn * sizes).sum(-1) / np.maximum(energy, np.finfo(np.float64).tiny)
    return np.linalg.norm(scale[..., None, None] * (centred @ rotation) - aim, axis=-1).mean(-1)


def n_mpjpe(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Protocol 3: MPJPE after the scale that is best in the least squares sense, ⟨a, t⟩ / ⟨a, a⟩. Returns `frame`."""
    found, wanted = _double(answers), _double(targets)
    energy = np.square(found).sum((-1, -2), keepdims=True)
    scale = (found * wanted).sum((-1, -2), keepdims=True) / np.maximum(energy, np.finfo(np.float64).tiny)
    return mpjpe(scale * found, wanted)


def mpjve(answers: np.ndarray, targets: np.ndarray, lengths: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Velocity error: MPJPE of the differences between consecutive frames; no difference crosses the end of a clip.

    lengths: frames of each clip; None for a single one. Returns `frame - 1` less one for every further clip; per frame.
    """
    found, wanted = np.diff(_double(answers), axis=0), np.diff(_double(targets), axis=0)
    kept = np.ones(len(found), bool)
    if lengths is not None:
        kept[np.cumsum(lengths)[:-1] - 1] = False
    return mpjpe(found[kept], wanted[kept])


def by_action(errors: np.ndarray, actions: np.ndarray) -> dict[str, float]:
    """Mean error of every action, in alphabetic order. errors, actions: `frame`."""
    return {str(action): float(errors[actions == action].mean()) for action in np.unique(actions)}


def mean_of_actions(errors: np.ndarray, actions: np.ndarray) -> float:
    """The figure of the published tables: every action counts alike, however long it lasts."""
    return float(np.mean(list(by_action(errors, actions).values())))


def _double(poses: np.ndarray) -> np.ndarray:
    return np.asarray(poses, np.float64)

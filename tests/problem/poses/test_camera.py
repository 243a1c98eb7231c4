"""Cameras: people in view, and projection that commutes with the mirror."""

from __future__ import annotations

import numpy as np

from chiralize.problem.poses.camera import Scene, projected, scene
from chiralize.problem.poses.motion import PARTNERS, draw, mirrored


def test_projection_commutes_with_the_mirror() -> None:
    """Mirrored at the plane through the axis, a scene gives the mirrored image."""
    view = scene(draw(40, 9, 1), 1)
    image = projected(mirrored(view.camera), view.focal)
    assert np.allclose(image, view.image[:, :, list(PARTNERS)] * [-1, 1], atol=1e-12)


def test_the_camera_frame_is_a_turn_of_the_world() -> None:
    view = scene(draw(40, 3, 2), 2)
    world, camera = (joints - joints[:, :, :1] for joints in (view.world, view.camera))
    turn = [
        np.linalg.lstsq(a.reshape(-1, 3), b.reshape(-1, 3), rcond=None)[0] for a, b in zip(world, camera, strict=True)
    ]
    assert np.allclose(np.array(turn) @ np.transpose(turn, (0, 2, 1)), np.eye(3), atol=1e-6)
    assert np.allclose(np.linalg.det(turn), 1, atol=1e-6)
    assert (np.array(turn)[:, 1, 1] < -0.9).all()  # y points down


def test_people_are_in_the_image_and_upright() -> None:
    for frames in (1, 27, 243):
        view = scene(draw(100, frames, 3), 3)
        assert np.mean(np.abs(view.image) > 1) < 0.02
        assert view.camera[..., 2].min() > 0.5
        head, hip = view.image[:, :, 10, 1], view.image[:, :, 0, 1]
        assert np.mean(head < hip) > 0.8


def test_the_same_seed_places_the_same_cameras() -> None:
    joints = draw(5, 4, 1)
    one, other = scene(joints, 3), scene(joints, 3)
    assert np.array_equal(one.image, other.image) and not np.allclose(one.image, scene(joints, 4).image)


def test_cut_takes_frames() -> None:
    view = scene(draw(5, 9, 1), 1)
    part = view.cut(slice(2, 4))
    assert isinstance(part, Scene) and np.array_equal(part.image, view.image[:, 2:4])

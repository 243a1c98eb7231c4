"""Pictures of the first start: frames of robots that began there, and at its mirror image.

MuJoCo draws them without a window, by EGL; by OSMesa where the user's PYOPENGL_PLATFORM asks for it. Where neither
works the report says so, and has no film.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.errors.words import first_line
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.records import AVERAGE, RESULT
from chiralize.verification.closed_loop.running import Episode, Walk

Frames = npt.NDArray[np.uint8]
FRAMES = 8  # of a row, from the start to the end of the longest episode
WIDTH, HEIGHT = 200, 150  # of a frame, in pixels
_DISTANCE, _AZIMUTH, _ELEVATION = 3.0, 0.0, -30.0
"""Of the camera, behind the robot, so that the mirror exchanges the sides of the frame; in sizes of the robot."""
_PLANE = 0  # mjtGeom
_RENDERERS = ("egl", "osmesa")
_PLATFORM = "PYOPENGL_PLATFORM"


@dataclass(frozen=True)
class Film:
    """Rows of frames.  titles: of the rows.  steps: of the columns.  rows: each `column height width 3`."""

    titles: tuple[str, ...]
    steps: tuple[int, ...]
    rows: tuple[Frames, ...]


def film_of(environment: Environment, walks: Sequence[Walk]) -> tuple[Film | None, str]:
    """The film, and "" ; or None and the reason why there is none."""
    episodes: list[tuple[str, Episode]] = []
    names = {walked.name for walked in walks}
    for walked in walks:
        if walked.name == AVERAGE and RESULT in names:
            continue  # the result stands for it
        episodes.append((f"{walked.name}, start", walked.ahead[0]))
        episodes.append((f"{walked.name}, mirrored start", walked.mirrored[0]))
    if environment.model is None or any(episode.coordinates is None for _, episode in episodes):
        return None, "no film strip: the environment has no MuJoCo model to draw"
    longest = max(episode.steps for _, episode in episodes)
    steps = tuple(map(int, np.linspace(0, longest, FRAMES)))
    problems: list[str] = []
    for renderer in _RENDERERS:
        try:
            with _asked_for(renderer), _drawing(renderer, environment.model) as draw:
                rows = [_row(draw, episode, steps) for _, episode in episodes]
            return Film(tuple(title for title, _ in episodes), steps, tuple(rows)), ""
        except Exception as error:  # of drivers and of what binds them, in many ways
            problems.append(f"{renderer}: {type(error).__name__}: {first_line(error)}")
    return None, f"no film strip: no renderer of MuJoCo works here ({'; '.join(problems)})"


def _row(draw: Any, episode: Episode, steps: Sequence[int]) -> Frames:
    """Frames at these steps; the last one stays where an episode ended before."""
    assert episode.coordinates is not None
    last = len(episode.coordinates) - 1
    return np.stack([draw(episode.coordinates[min(step, last)]) for step in steps])


@contextmanager
def _asked_for(renderer: str) -> Iterator[None]:
    """Context in which PyOpenGL loads the library of a renderer, where the user asks for no other.

    MuJoCo's contexts refuse to be imported where PYOPENGL_PLATFORM names another one, and set it themselves. PyOpenGL
    reads it once. So after a failure the variable and the modules are as before, and another renderer may be tried.
    """
    asked, before = os.environ.get(_PLATFORM), set(sys.modules)
    if sys.platform == "linux":
        os.environ.setdefault(_PLATFORM, renderer)
    try:
        yield
    except Exception:
        if asked is None:
            os.environ.pop(_PLATFORM, None)
        bound = ("OpenGL", f"mujoco.{renderer}")
        for name in set(sys.modules) - before:
            if name in bound or name.startswith(tuple(f"{package}." for package in bound)):
                del sys.modules[name]
        raise


@contextmanager
def _drawing(renderer: str, model: Any) -> Iterator[Any]:
    """Context with a function from the coordinates of joints to a frame. Raises any error of the graphics drivers."""
    mujoco: Any = import_module("mujoco")
    contexts: Any = import_module(f"mujoco.{renderer}")
    with ExitStack() as stack:
        context = contexts.GLContext(WIDTH, HEIGHT)
        stack.callback(context.free)
        context.make_current()
        scene, data = mujoco.MjvScene(model, maxgeom=2000), mujoco.MjData(model)
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            scene.flags[effect.value] = 0
        surface = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        stack.callback(surface.free)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, surface)
        camera, options = mujoco.MjvCamera(), mujoco.MjvOption()
        camera.distance = _DISTANCE * _size(model, data, mujoco)
        camera.azimuth, camera.elevation = _AZIMUTH, _ELEVATION
        view = mujoco.MjrRect(0, 0, WIDTH, HEIGHT)

        def draw(coordinates: Any) -> Frames:
            """The robot with these joints, in the middle of the frame."""
            data.qpos[:] = coordinates
            mujoco.mj_forward(model, data)
            camera.lookat[:] = data.xpos[1]
            every = mujoco.mjtCatBit.mjCAT_ALL.value
            mujoco.mjv_updateScene(model, data, options, None, camera, every, scene)
            mujoco.mjr_render(view, scene, surface)
            frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            mujoco.mjr_readPixels(frame, None, view, surface)
            return np.flipud(frame)  # OpenGL counts rows from below

        yield draw


def _size(model: Any, data: Any, mujoco: Any) -> float:
    """How far the robot reaches from its first body; the ground is no part of it."""
    mujoco.mj_forward(model, data)
    parts = (model.geom_type != _PLANE) & (model.geom_bodyid > 0)
    reach = np.linalg.norm(data.geom_xpos - data.xpos[1], axis=-1) + model.geom_rbound
    return float(reach[parts].max(initial=0.1))

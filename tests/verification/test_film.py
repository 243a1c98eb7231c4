"""Film strips: renderers are tried one after the other, each as if it were the first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chiralize.verification.closed_loop import film

BALL = "<mujoco><worldbody><body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"
mujoco: Any = pytest.importorskip("mujoco")


class Driver:
    """Stands in for MuJoCo and the contexts of its renderers, every one of which fails.

    asked: the platform that PyOpenGL was asked for, by renderer.  freed: what was.
    """

    def __init__(self) -> None:
        self.asked: dict[str, str | None] = {}
        self.freed: list[str] = []

    def load(self, name: str) -> Any:
        """The module of that name."""
        if name == "mujoco":
            return self
        renderer = name.removeprefix("mujoco.")
        self.asked[renderer] = os.environ.get("PYOPENGL_PLATFORM")
        if renderer == "egl":  # as where its library is missing
            sys.modules["OpenGL.of_egl"] = ModuleType("OpenGL.of_egl")
            raise ImportError("no library")
        assert "OpenGL.of_egl" not in sys.modules
        return SimpleNamespace(GLContext=lambda *_: SimpleNamespace(make_current=bool, free=self.free("context")))

    def free(self, name: str) -> Callable[[], None]:
        """A function that notes that this was freed."""
        return lambda: self.freed.append(name)

    def __getattr__(self, name: str) -> Any:
        """What MuJoCo has under this name, and a surface that nothing can be drawn on."""
        if name == "MjrContext":
            return lambda *_: SimpleNamespace(free=self.free("surface"))
        if name == "mjr_setBuffer":
            raise RuntimeError("no buffer")
        return getattr(mujoco, name)


def reason(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why there is no film of a ball that lies still."""
    episode = SimpleNamespace(coordinates=[np.zeros(7)] * 2, steps=1)
    walked = SimpleNamespace(name="original", ahead=[episode], mirrored=[episode])
    environment: Any = SimpleNamespace(model=mujoco.MjModel.from_xml_string(BALL))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(film, "import_module", driver.load)
    walks: Any = [walked]
    frames, why = film.film_of(environment, walks)
    assert frames is None
    return why


def test_another_renderer_is_asked_for_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What EGL has left behind stops no other one, and what a renderer holds is freed where it fails."""
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    driver = Driver()
    why = reason(driver, monkeypatch)
    reasons = "egl: ImportError: no library; osmesa: RuntimeError: no buffer"
    assert why == f"no film strip: no renderer of MuJoCo works here ({reasons})"
    assert driver.asked == {"egl": "egl", "osmesa": "osmesa"} and driver.freed == ["surface", "context"]
    assert "PYOPENGL_PLATFORM" not in os.environ


def test_what_the_user_asks_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "osmesa")
    driver = Driver()
    reason(driver, monkeypatch)
    assert driver.asked == {"egl": "osmesa", "osmesa": "osmesa"} and os.environ["PYOPENGL_PLATFORM"] == "osmesa"

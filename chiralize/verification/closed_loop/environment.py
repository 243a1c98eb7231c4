"""Environments that begin at a start, or at its mirror image.

A start is a seed of `reset`. Its mirror image comes about in one of three ways (`How`, decision 0046):

    reset    the environment has a method mirrored_reset(seed), which knows more than the robot: commands, terrain
    state    a MuJoCo environment of gymnasium: T on its positions and velocities, set where `reset` draws them
    view     neither: the start stays, and the mirror image of the policy runs from it

T of the simulator's state is read off the robot's own model, not off the specification that is to be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.mirroring import RobotMirror
from chiralize.errors import ChiralizeError, ModelRunError, UsageError
from chiralize.errors.words import first_line
from chiralize.verification.closed_loop.records import How, Plane
from chiralize.verification.closed_loop.robot import mirror_of_robot

Array = npt.NDArray[np.float64]
HOOK = "mirrored_reset"
"""The method by which an environment itself begins at the mirror image of what `reset(seed=...)` gives."""
_SIMULATED = ("model", "data", "reset_model", "_get_obs")
"""Attributes that setting the state of an environment needs, as gymnasium's MujocoEnv and those like it have them."""
_FREE = 0  # mjtJoint: a first joint that is free holds the place of the robot in the world


@dataclass(frozen=True)
class Step:
    """What an environment answers to an action. over: by time."""

    observation: Any
    reward: float
    fallen: bool
    over: bool


class Environment:
    """A user's gymnasium environment. name: as the user gave it.

    how: the way in which mirrored starts come about.  robot: the mirror of the simulator, where it has one.
    unsettled: why starts cannot be mirrored, "" where they can.
    Raises UsageError for what is not one environment with continuous actions.
    """

    def __init__(self, raw: Any, name: str) -> None:
        self.name = name
        self.raw = _one_of(raw, name)
        self.base: Any = getattr(self.raw, "unwrapped", self.raw)
        self.low, self.high = _bounds(self.raw, name)
        self.robot: RobotMirror | None = None
        self.unsettled = ""
        self.how: How = "view"

    def find_mirror(self, lateral: str | None) -> None:
        """Look how starts can be mirrored. lateral: the axis that the specification names, None where it names none."""
        if hasattr(self.base, HOOK):
            self.how = "reset"
            if self.model is not None:
                self._read_robot(lateral)
        elif all(hasattr(self.base, attribute) for attribute in _SIMULATED):
            self._read_robot(lateral)
            if self.robot is not None:
                self.how = "state"
        else:
            self.unsettled = f"it is no MuJoCo environment of gymnasium, and has no {HOOK}(seed)"

    def _read_robot(self, lateral: str | None) -> None:
        """Read the mirror of the simulator's state off the robot's model; note why where there is none."""
        try:
            self.robot = mirror_of_robot(self.base.model, self.name, lateral)
        except ChiralizeError as error:
            self.unsettled = f"its robot has no mirror that could be read ({error.facts})"

    @property
    def model(self) -> Any:
        """The simulator's model, None where there is none."""
        if not hasattr(self.base, "data"):
            return None
        return getattr(self.base, "model", None)

    # ---- running --------------------------------------------------------------------------------------------
    def begin(self, start: int, mirrored: bool = False) -> Any:
        """The observation at a start, or at its mirror image. Raises ModelRunError."""
        with self._explained("reset"):
            if self.how == "state":  # both sides, so that the solver's stored values are the same for both
                with self._state_after_reset(mirrored):
                    return self.raw.reset(seed=start)[0]
            if mirrored:
                with self._hook_in_place_of_reset():
                    return self.raw.reset(seed=start)[0]
            return self.raw.reset(seed=start)[0]

    def step(self, action: Array) -> Step:
        """One step with a flat action, cut to what the environment takes. Raises ModelRunError, UsageError."""
        space = self.raw.action_space
        if action.size != self.low.size:
            facts = f"an action has {self.low.size} numbers, the network answers {action.size}"
            raise UsageError(self.name, facts, "return the environment that the network was trained in")
        cut = np.clip(action, self.low, self.high).reshape(space.shape).astype(space.dtype)
        with self._explained("step"):
            observation, reward, fallen, over, _ = self.raw.step(cut)
        return Step(observation, float(reward), bool(fallen), bool(over))

    def random_action(self, rng: np.random.Generator) -> Array:
        """Uniform where actions have bounds, else N(0, 1)."""
        bounded = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(bounded, self.low, 0.0), np.where(bounded, self.high, 1.0)
        return np.where(bounded, rng.uniform(low, high), rng.standard_normal(self.low.size))

    # ---- where the robot is ---------------------------------------------------------------------------------
    def position(self) -> Array | None:
        """x, y and z of the robot's first body, None where there is no simulator."""
        if self.model is None:
            return None
        data = self.base.data
        if self.model.njnt and self.model.jnt_type[0] == _FREE:
            return np.array(data.qpos[:3])
        return np.array(data.xpos[1])  # body 0 is the world

    def turned_position(self, positions: Array) -> Array:
        """The mirror images of positions, `... 3`."""
        assert self.robot is not None
        return np.stack([self.robot.reflection.point(position) for position in positions])

    @property
    def plane(self) -> Plane | None:
        """The plane in which mirrored starts are mirrored, None where the environment mirrors them or nobody does."""
        if self.how != "state" or self.robot is None:
            return None
        return Plane(self.robot.lateral, self.robot.reflection.offset)

    def coordinates(self) -> Array | None:
        """The positions of all joints, from which the robot can be drawn; None where there is no simulator."""
        if self.model is None:
            return None
        return np.array(self.base.data.qpos)

    def close(self) -> None:
        """Let go of what the environment holds."""
        close = getattr(self.raw, "close", None)
        if callable(close):
            close()

    # ---- starts ---------------------------------------------------------------------------------------------
    @contextmanager
    def _hook_in_place_of_reset(self) -> Iterator[None]:
        """Context in which the innermost environment begins at the mirror image. Wrappers see a usual reset."""
        # Only what the instance itself holds is put back: a method of its class is found again once `reset` is removed.
        before = vars(self.base).get("reset")

        def restore() -> None:
            """Undo it, also before the hook is called, which may well call `reset` itself."""
            vars(self.base).pop("reset", None)
            if before is not None:
                self.base.reset = before

        def reset(*, seed: int | None = None, options: Any = None) -> Any:
            """The hook, called as `reset` is."""
            del options
            restore()
            return getattr(self.base, HOOK)(seed=seed)

        self.base.reset = reset
        try:
            yield
        finally:
            restore()

    @contextmanager
    def _state_after_reset(self, mirrored: bool) -> Iterator[None]:
        """Context in which `reset` ends at the drawn state or at its mirror image; wrappers act on top of that.

        Both sides are set in the same way, so that the values which the solver stores are the same for both.
        """
        draw: Callable[[], Any] = self.base.reset_model

        def drawn() -> Any:
            """Draw a state, put the simulator into it or its mirror image, and observe."""
            draw()
            self._settle(mirrored)
            return self.base._get_obs()

        self.base.reset_model = drawn
        try:
            yield
        finally:
            del self.base.reset_model

    def _settle(self, mirrored: bool) -> None:
        """Put the simulator into the state that it is in, or into its mirror image. Raises UsageError.

        Also where nothing is mirrored: resetting the data drops what the solver stored at earlier steps.
        """
        mujoco: Any = import_module("mujoco")
        assert self.robot is not None
        model, data = self.base.model, self.base.data
        positions, velocities = np.array(data.qpos), np.array(data.qvel)
        activations = np.array(data.act)
        if mirrored:
            if activations.any():
                facts = "its actuators have states that are not 0 at the start, and nobody knows how these are mirrored"
                raise UsageError(self.name, facts, f"give the environment a method {HOOK}(seed)")
            positions, velocities = self.robot.act_qpos(positions), self.robot.qvel.act(velocities)
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.act[:] = positions, velocities, activations
        mujoco.mj_forward(model, data)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Context that raises ModelRunError for an error of the user's environment."""
        try:
            yield
        except ChiralizeError:
            raise
        except Exception as error:  # the user's own code
            facts = f"its {what} fails: {type(error).__name__}: {first_line(error)}"
            raise ModelRunError(self.name, facts, "run the environment by itself first") from error


def _one_of(raw: Any, name: str) -> Any:
    """One environment: itself, or the first of those that are stepped together."""
    if hasattr(raw, "num_envs"):
        several = getattr(raw, "envs", None)
        if isinstance(several, (list, tuple)) and several:
            return several[0]
        facts = f"it returned a {type(raw).__name__} of {raw.num_envs} environments, and none of them can be had"
        raise UsageError(name, facts, "return a single environment, with its normaliser in the network or in a wrapper")
    missing = [what for what in ("reset", "step", "action_space") if not hasattr(raw, what)]
    if missing:
        facts = f"it returned a {type(raw).__name__}, which has no {missing[0]}"
        raise UsageError(name, facts, "name a function that returns a gymnasium environment")
    return raw


def _bounds(raw: Any, name: str) -> tuple[Array, Array]:
    """Least and greatest of every entry of a flat action."""
    space = raw.action_space
    if not (hasattr(space, "low") and hasattr(space, "high")) or not np.issubdtype(space.dtype, np.floating):
        facts = f"its actions are {space}, not arrays of real numbers"
        raise UsageError(name, facts, "closed loops are run for continuous actions (a Box) alone")
    return np.asarray(space.low, np.float64).reshape(-1), np.asarray(space.high, np.float64).reshape(-1)

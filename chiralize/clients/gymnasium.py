"""gymnasium: environments seen in the mirror, for augmentation, and whether a specification is an environment's mirror.

from chiralize.clients.gymnasium import MirroredEnv, check_env
check_env(gymnasium.make("Ant-v5"), "ant.yaml").raise_for_failure()
env = MirroredEnv(gymnasium.make("Ant-v5"), "ant.yaml")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.clients._bounds import check_bounds, image_of_bounds
from chiralize.clients._env_check import EnvReport as EnvReport
from chiralize.clients._env_check import WrongEntry as WrongEntry
from chiralize.clients._env_check import check_env as check_env
from chiralize.clients._tables import Spec, TableMirror
from chiralize.errors import MissingPackageError, UsageError

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise MissingPackageError(
        "chiralize.clients.gymnasium", "gymnasium is not installed", "pip install gymnasium"
    ) from error

Array = npt.NDArray[Any]


class MirroredEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment some of whose episodes are seen in the mirror, from their first step to their last.

    Observations are mirrored on the way out, actions on the way in. Rewards are passed on as they are: a task that is
    the same for both sides rewards both alike.  `mirrored` says whether the current episode is mirrored.

    spec: of a policy: inputs are observations, of a dictionary by name; the first output is the action.
    groups: specifications of entries of a dictionary, None for one that the mirror leaves alone.
    p: the probability that an episode is mirrored.  `reset(seed=...)` seeds that choice, too, and
    `reset(options={"mirrored": True})` makes it.
    Raises SpecError; UsageError where the mirror takes an allowed action to one that is not.
    """

    def __init__(
        self, env: Any, spec: Spec, *, groups: Mapping[str, Spec | None] | None = None, p: float = 0.5
    ) -> None:
        super().__init__(env)
        if not 0 <= p <= 1:
            raise UsageError("p", f"{p} is no probability", "give a number from 0 to 1")
        self.mirror, self.p, self.mirrored = TableMirror.of(spec, groups), p, False
        self._generator = np.random.default_rng()
        _check_actions(env.action_space, self.mirror)
        self.observation_space = _both_views(env.observation_space, self.mirror)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation of an episode, whose view is drawn."""
        if seed is not None:
            # Not the stream that the environment gets from this seed.
            self._generator = np.random.default_rng([seed, 1])
        wanted = dict(options or {})
        drawn = bool(self._generator.random() < self.p)
        self.mirrored = bool(wanted.pop("mirrored", drawn))
        obs, info = self.env.reset(seed=seed, options=wanted or None)
        return self._seen(obs), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step by an action of this episode's view."""
        obs, *rest = self.env.step(self.mirror.actions(np.asarray(action)) if self.mirrored else action)
        return (self._seen(obs), *rest)  # type: ignore[return-value]

    def _seen(self, obs: Any) -> Any:
        """An observation in the view of the current episode."""
        if self.mirrored:
            return self.mirror.observations(obs)
        return obs


def _check_actions(space: Any, mirror: TableMirror) -> None:
    """Raise UsageError where the mirror takes an action of a Box out of it, by how much."""
    if not isinstance(space, spaces.Box):
        raise UsageError("action_space", f"{type(space).__name__} is no Box of numbers", "give an env of such actions")
    check_bounds(space, mirror.actions, "action_space")


def _both_views(space: Any, mirror: TableMirror) -> Any:
    """The space with the mirror images of what is in it."""
    if isinstance(space, spaces.Dict):
        probe: dict[str, Array] = {name: part.sample() for name, part in space.spaces.items()}
        mirror.observations(probe)  # refuses what is not described
        parts = {name: _wider(part, _of_part(mirror, name, probe)) for name, part in space.spaces.items()}
        return spaces.Dict(parts)
    return _wider(space, mirror.observations)


def _of_part(mirror: TableMirror, name: str, probe: Mapping[str, Array]) -> Any:
    """T on one entry of the dictionary. probe: all entries, since which of them is meant depends on the others."""

    def turn(value: Array) -> Array:
        """T of one entry of the dictionary."""
        return mirror.observations({**probe, name: value})[name]

    return turn


def _wider(space: Any, turn: Any) -> Any:
    """A Box with room for the mirror images of what is in it; any other space as it is."""
    if not isinstance(space, spaces.Box):
        return space
    low, high = image_of_bounds(space, turn)
    both = np.minimum(space.low, low), np.maximum(space.high, high)
    return spaces.Box(both[0].astype(space.dtype), both[1].astype(space.dtype), dtype=space.dtype.type)

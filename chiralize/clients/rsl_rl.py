"""rsl_rl: mirrored samples and the mirror loss of its `symmetry_cfg`, from a specification.

    from chiralize.clients.rsl_rl import symmetry_cfg
    train_cfg["algorithm"]["symmetry_cfg"] = symmetry_cfg("go2.yaml", mirror_loss=0.1)

rsl_rl refuses recurrent policies there: no rollout holds the states that a policy would have had along the mirrored
trajectory. `chiralize.clients.rsl_rl_recurrent` keeps them. `MirroredVecEnv` shows whole episodes in the mirror. That
helps where the world is lopsided; the image of a symmetric one is the same world again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chiralize.clients._tables import Spec, TableMirror, is_table, like_table
from chiralize.errors import UsageError


class Augmentation:
    """rsl_rl's `data_augmentation_func`: samples, and after them the same in the mirror. Made by `augmentation`."""

    __name__ = "augmentation"  # what configurations that are written down call it

    def __init__(self, mirrors: tuple[TableMirror, ...]) -> None:
        self.mirrors = mirrors

    def __call__(
        self, env: Any = None, obs: Any = None, actions: Tensor | None = None, obs_type: str = "policy"
    ) -> tuple[Any, Tensor | None]:
        """Observations and actions, n times as many: as given, mirrored by the first mirror, by the second, by both.

        obs: a TensorDict or a dict of groups, or a tensor (rsl_rl 2), which `obs_type` names.  Either may be None.
        Raises UsageError for groups that no specification describes.
        """
        return (
            None if obs is None else self._observations(obs, obs_type),
            None if actions is None else self._actions(actions),
        )

    def _observations(self, obs: Any, obs_type: str) -> Any:
        """All views, one after the other along the batch; the order is that of `_actions`."""
        # x; then x and A x; then x, A x, B x and B A x
        views = [obs]
        for mirror in self.mirrors:
            views += [self._view(mirror, view, obs_type) for view in views]
        if not is_table(obs):
            return torch.cat(views)
        joined: dict[str, Tensor] = {}
        for name in obs.keys():
            joined[name] = torch.cat([view[name] for view in views])
        return like_table(obs, joined)

    def _view(self, mirror: TableMirror, obs: Any, obs_type: str) -> Any:
        """T of observations; of a plain tensor (rsl_rl 2) as the group that it is said to be, if that is described."""
        if is_table(obs) or not mirror.is_named(obs_type):
            return mirror.observations(obs)
        return mirror.observations({obs_type: obs})[obs_type]

    def _actions(self, actions: Tensor) -> Tensor:
        """All views of actions, in the same order."""
        views = [actions]
        for mirror in self.mirrors:
            views += [mirror.actions(view) for view in views]
        result = torch.cat(views)
        if len(self.mirrors) > 1:
            self._check_commuting(actions.shape[-1])
        return result

    def _check_commuting(self, size: int) -> None:
        """Raise UsageError for mirrors of which it matters which comes first: their images form no group."""
        # All entries differ, so that equal images mean equal mirrors.
        row = torch.arange(1.0, size + 1)[None]
        for first in self.mirrors:
            for second in self.mirrors:
                if not torch.equal(first.actions(second.actions(row)), second.actions(first.actions(row))):
                    facts = "two of the mirrors do not commute: one after the other is not the other after the one"
                    raise UsageError("augmentation", facts, "check the pairs and signs of both")


def augmentation(spec: Spec, *more: Spec, groups: Mapping[str, Spec | None] | None = None) -> Augmentation:
    """A function for rsl_rl's `data_augmentation_func`, which mirrors by specifications.

    spec: of the policy: its inputs are groups of observations by name (one group wants no name), its first output the
    actions.  more: further mirrors of the same body, such as front to back: with two there are four views.
    groups: specifications of other groups (`{"critic": "critic.yaml"}`), None for one that all mirrors leave alone;
    further mirrors name theirs among their inputs.
    Raises SpecError.
    """
    alone_by_all = {name: entry for name, entry in (groups or {}).items() if entry is None}
    others = [TableMirror.of(entry, alone_by_all) for entry in more]
    return Augmentation((TableMirror.of(spec, groups), *others))


def symmetry_cfg(
    spec: Spec,
    *more: Spec,
    groups: Mapping[str, Spec | None] | None = None,
    augment: bool = True,
    mirror_loss: float | None = None,
) -> dict[str, Any]:
    """The `symmetry_cfg` of rsl_rl's PPO. augment: add mirrored samples.  mirror_loss: its coefficient; None: none.

    The other arguments are those of `augmentation`.
    """
    return {
        "data_augmentation_func": augmentation(spec, *more, groups=groups),
        "use_data_augmentation": augment,
        "use_mirror_loss": mirror_loss is not None,
        "mirror_loss_coeff": mirror_loss or 0.0,
    }


class MirroredVecEnv:
    """An environment of rsl_rl, some of whose episodes are seen in the mirror from their first step to their last.

    Observations are mirrored on the way out and actions on the way in, so that whatever a policy remembers belongs to
    the view that it has. That evens out what a lopsided world asks of the two sides; a symmetric one gains nothing.

    env: a VecEnv; all other attributes are its own.  spec, groups: as those of `augmentation`.
    share: the probability that an episode is mirrored.  seed: of that choice.
    """

    def __init__(
        self,
        env: Any,
        spec: Spec,
        *,
        groups: Mapping[str, Spec | None] | None = None,
        share: float = 0.5,
        seed: int | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise UsageError("share", f"{share} is no probability", "give a number from 0 to 1")
        self.env, self.share = env, share
        self.mirror = TableMirror.of(spec, groups)
        self.generator = torch.Generator()
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)
        self.mirrored = self._drawn(env.num_envs)

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not set yet: an instance that is being unpickled
            raise AttributeError(name)
        return getattr(self.env, name)

    @property
    def unwrapped(self) -> Any:
        """The environment that nothing wraps."""
        return getattr(self.env, "unwrapped", self.env)

    def reset(self) -> Any:
        """Observations at the start of new episodes, each of which has its view drawn."""
        # The view belongs to an episode: drawn when it begins, kept until it ends.
        answer = self.env.reset()
        self.mirrored = self._drawn(self.env.num_envs)
        return self._seen(answer)

    def get_observations(self) -> Any:
        """The current observations, in the view of every episode."""
        return self._seen(self.env.get_observations())

    def step(self, actions: Tensor) -> tuple[Any, ...]:
        """One step by actions of every episode's view; where an episode ends, the next one's view is drawn."""
        # The policy acts in the mirror; the simulator gets what that means in its own view.
        turned = self._chosen(self.mirror.actions(actions), actions)
        obs, *rest = self.env.step(turned)
        dones, extras = rest[-2], rest[-1]
        ended = dones.to("cpu").bool().reshape(-1)
        # What `step` returns where an episode ended is the first observation of the next one, in its view.
        self.mirrored = torch.where(ended, self._drawn(len(ended)), self.mirrored)
        obs, extras = self._seen((obs, extras))
        return (obs, *rest[:-1], extras)

    def _drawn(self, count: int) -> Tensor:
        """Which episodes are mirrored, "environment"."""
        return torch.rand(count, generator=self.generator) < self.share

    def _seen(self, answer: Any) -> Any:
        """Observations in the view of every episode; before rsl_rl 3 with extras, which hold those of the critic."""
        if not isinstance(answer, tuple):
            return self._table(answer)
        obs, extras = answer
        if isinstance(extras, dict) and is_table(extras.get("observations")):
            extras = {**extras, "observations": self._table(extras["observations"])}
        return self._table(obs), extras

    def _table(self, obs: Any) -> Any:
        """A tensor, or all groups of a table, in the view of every episode."""
        image = self.mirror.observations(obs)
        if not is_table(obs):
            return self._chosen(image, obs)
        return like_table(obs, {name: self._chosen(image[name], obs[name]) for name in obs.keys()})

    def _chosen(self, image: Tensor, value: Tensor) -> Tensor:
        """The image in mirrored episodes, the value in the others; both "environment ..."."""
        rows = self.mirrored.to(value.device).reshape(-1, *[1] * (value.ndim - 1))
        return torch.where(rows, image, value)

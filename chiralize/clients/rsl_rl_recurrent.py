"""rsl_rl: mirrored samples for recurrent policies, which its own `symmetry_cfg` refuses.

    train_cfg["algorithm"]["class_name"] = "chiralize.clients.rsl_rl_recurrent:MirroredPPO"
    train_cfg["algorithm"]["symmetry_cfg"] = symmetry_cfg("go2.yaml")

No rollout holds what a policy would remember along the mirrored trajectory. So the policy is also run on the mirror
image of every environment, and carries a state for that as well. Nothing is simulated twice.

With 2 environments and one mirror A the storage has 4 rows, "environment view": o_0, A o_0, o_1, A o_1. The policy
acts on all of them. Only the actions to o_0 and o_1 (`[:: count]`) are taken; their images are noted for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from chiralize.errors import MissingPackageError, UsageError

_WHERE = "symmetry_cfg"
try:
    PPO: Any = import_module("rsl_rl.algorithms").PPO
    RolloutStorage: Any = import_module("rsl_rl.storage").RolloutStorage
except ImportError as missing:
    raise MissingPackageError(__name__, "rsl_rl is not installed", "pip install rsl-rl-lib") from missing


class MirroredPPO(PPO):
    """PPO that learns from every sample and from its images. For recurrent policies and for others.

    symmetry_cfg: as rsl_rl's own; its `data_augmentation_func` makes the images.
    Images have the likelihood, value, advantage and return of their samples, as in rsl_rl. What the policy answers to
    images, and the states that it carries along them, are computed on the images themselves.
    Raises UsageError without a `symmetry_cfg`, and for a mirror loss.
    """

    def __init__(self, actor: Any, critic: Any, storage: Any, *, symmetry_cfg: Any = None, **named: Any) -> None:
        if not symmetry_cfg:
            raise UsageError(_WHERE, "MirroredPPO has no mirror", "give chiralize.clients.rsl_rl.symmetry_cfg(spec)")
        if symmetry_cfg.get("use_mirror_loss") or not symmetry_cfg.get("use_data_augmentation"):
            facts = "MirroredPPO adds mirrored samples and has no mirror loss"
            raise UsageError(_WHERE, facts, "give symmetry_cfg(spec) without mirror_loss, and with augment=True")
        self.images, self.env = symmetry_cfg["data_augmentation_func"], symmetry_cfg.get("env")
        # As many views as the mirrors give, seen on the first step of rsl_rl's own storage, which is replaced.
        views = self._views(storage.observations[0])
        self.count = len(views) // storage.num_envs
        steps, actions = storage.num_transitions_per_env, list(storage.actions.shape[2:])
        wider = RolloutStorage("rl", len(views), steps, views, actions, storage.device)
        super().__init__(actor, critic, wider, symmetry_cfg=None, **named)

    def act(self, obs: Any) -> Tensor:
        """Sample an action for every environment, and note its images. obs: a table of `environment ...`."""
        super().act(self._views(obs))
        noted: Any = self.transition
        actions = noted.actions[:: self.count]
        # What the policy itself would do in the mirror is not what happened there: the image of the action is.
        noted.actions = self._ordered(self.images(env=self.env, actions=actions)[1], len(actions))
        noted.actions_log_prob = self._shared(noted.actions_log_prob)
        noted.values = self._shared(noted.values)
        return actions

    def process_env_step(self, obs: Any, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Note what followed, of all views; the statistics of observations are those of all views, too."""
        rewards, dones = (each.repeat_interleave(self.count, 0) for each in (rewards, dones))
        # Of episodes that ended by time rsl_rl adds the value of what would follow to the reward, row by row.
        if "time_outs" in extras:
            extras = {**extras, "time_outs": extras["time_outs"].repeat_interleave(self.count, 0)}
        super().process_env_step(self._views(obs), rewards, dones, extras)

    def compute_returns(self, obs: Any) -> None:
        """Returns and advantages of the samples, which those of the images are as well."""
        super().compute_returns(self._views(obs))
        # "step environment*view 1", with rows in front for `_shared`.
        for values in (self.storage.returns, self.storage.advantages):
            values.copy_(self._shared(values.transpose(0, 1)).transpose(0, 1))

    def _shared(self, values: Tensor) -> Tensor:
        """What the first view of every environment has, for all its views; `environment * view ...`."""
        return values[:: self.count].repeat_interleave(self.count, 0)

    def _views(self, obs: Any) -> Any:
        """Observations of all views, "environment*view ..."."""
        return self._ordered(self.images(env=self.env, obs=obs)[0], len(obs))

    @staticmethod
    def _ordered(rows: Any, count: int) -> Any:
        """From view after view to environment after environment, so that a mini-batch has all views of what it has."""
        order = torch.arange(len(rows), device=rows.device).reshape(-1, count).T.reshape(-1)
        return rows[order]

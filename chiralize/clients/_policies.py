"""Networks of policies as one function each, of observations as the environment gives them.

A policy of Stable-Baselines3 holds several networks and calls them with normalised observations. `chiralize` wants a
module with a forward, and T is known of raw observations: so each part is the normaliser and one function behind it.
`_actor_and_critic` converts them; all parts hold the whole policy, so that names of weights stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.storage.vec_normalize import Normaliser as Normaliser

_LOG_STD = (-20.0, 2.0)  # of Stable-Baselines3's SAC


class Part(nn.Module):
    """One function of a policy, behind its normaliser. policy: whole; what is not used stays as it is."""

    def __init__(self, policy: nn.Module, normaliser: nn.Module | None) -> None:
        super().__init__()
        self.policy: Any = policy
        self.normaliser = normaliser if normaliser is not None else nn.Identity()


class Mean(Part):
    """The mean of an ActorCriticPolicy's actions, before they are squashed or clipped."""

    def forward(self, obs: Tensor) -> Tensor:
        """Actions "batch action"."""
        policy = self.policy
        features = _features(policy, self.normaliser(obs), "pi")
        return policy.action_net(policy.mlp_extractor.forward_actor(features))


class Value(Part):
    """The value of an ActorCriticPolicy."""

    def forward(self, obs: Tensor) -> Tensor:
        """Values "batch 1"."""
        policy = self.policy
        features = _features(policy, self.normaliser(obs), "vf")
        return policy.value_net(policy.mlp_extractor.forward_critic(features))


class MeanAndValue(Part):
    """Both, of a policy whose extractor of features is shared."""

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions "batch action", values "batch 1"."""
        policy = self.policy
        normalised = self.normaliser(obs)
        actor = policy.mlp_extractor.forward_actor(_features(policy, normalised, "pi"))
        critic = policy.mlp_extractor.forward_critic(_features(policy, normalised, "vf"))
        return policy.action_net(actor), policy.value_net(critic)


class Squashed(Part):
    """SAC's actor: the mean before tanh, and the logarithm of the spread, both of the observation."""

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of spreads, "batch action"."""
        actor = self.policy.actor
        hidden = actor.latent_pi(actor.extract_features(self.normaliser(obs), actor.features_extractor))
        return actor.mu(hidden), actor.log_std(hidden).clamp(*_LOG_STD)


class SquashedMean(Part):
    """SAC's actor where its spread is no function of the observation (gSDE)."""

    def forward(self, obs: Tensor) -> Tensor:
        """Means "batch action", before tanh."""
        actor = self.policy.actor
        return actor.mu(actor.latent_pi(actor.extract_features(self.normaliser(obs), actor.features_extractor)))


class Deterministic(Part):
    """TD3's actor."""

    def forward(self, obs: Tensor) -> Tensor:
        """Actions "batch action", in (-1, 1)."""
        actor = self.policy.actor
        return actor.mu(actor.extract_features(self.normaliser(obs), actor.features_extractor))


class Critics(Part):
    """The critics of SAC and TD3."""

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Values "batch 1", one per critic."""
        critic = self.policy.critic
        features = critic.extract_features(self.normaliser(obs), critic.features_extractor)
        joined = torch.cat([features, actions], dim=1)
        return tuple(network(joined) for network in critic.q_networks)


def _features(policy: Any, obs: Tensor, side: str) -> Tensor:
    """What the policy's extractor makes of observations. side: pi or vf."""
    extractor = getattr(policy, f"{side}_features_extractor")
    # One extractor for both sides gives features; of two, one call gives those of both, (pi, vf).
    if policy.share_features_extractor:
        return policy.extract_features(obs, extractor)
    return policy.extract_features(obs)[side == "vf"]


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are no longer what they were, by name."""
    return {name: tensor for name, tensor in after.items() if not torch.equal(tensor, before[name])}

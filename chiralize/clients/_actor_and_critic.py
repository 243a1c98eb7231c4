"""The parts of a Stable-Baselines3 policy, converted: actor and critic, together where they share weights.

A policy has several functions and no forward that `chiralize` could take. Each is wrapped (`_policies`) and converted
with its own outputs, to the same observations o:

    actor               mean(T o) = T mean(o); a spread that depends on o goes along, without signs
    critic V            V(T o) = V(o), an invariant
    critics Q           Q(T o, T a) = Q(o, a)
    shared features     actor and V at once: a weight that both read can have one value only

All parts stand behind one normaliser, so that their new statistics have to agree. `stable_baselines3.convert` calls
`converted` and puts the weights into a copy of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, TensorEntry
from chiralize.clients import _policies as parts
from chiralize.clients._tables import TableMirror, numbers
from chiralize.commands.api import chiralize
from chiralize.errors import ChiralizeError, UsageError
from chiralize.report import ConvertReport

WHERE = "stable_baselines3.convert"


def two_views(method: str) -> UsageError:
    """The refusal of a method whose result shows the network both views."""
    facts = f"by {method} it becomes two views, which no model of Stable-Baselines3 holds"
    return UsageError(WHERE, facts, "use method='match', or 'reduce' with calibration")


@dataclass(frozen=True)
class Job:
    """What is converted, and how.

    policy: of the new model, whose weights are still the original's.  rows: observations to fit to, "sample
    observation", not normalised; None where there are none.  options: of `chiralize`.
    """

    policy: Any
    mirror: TableMirror
    normaliser: parts.Normaliser | None
    rows: Tensor | None
    options: Mapping[str, Any]

    @property
    def observed(self) -> int:
        """How many numbers an observation has."""
        return self.policy.observation_space.shape[0]

    @property
    def acted(self) -> int:
        """How many numbers an action has."""
        return self.policy.action_space.shape[0]

    @property
    def examples(self) -> Tensor:
        """The observations that were given, else two that are zero."""
        return torch.zeros(2, self.observed) if self.rows is None else self.rows

    def spec(self, outputs: Sequence[TensorEntry], actions_in: bool = False) -> ConversionSpec:
        """The user's observations, and actions where they are an input, to these outputs."""
        spec = self.mirror.spec
        # The observation is the first input of the user's specification, whatever else it describes.
        entry = (spec.inputs or ())[:1] or (TensorEntry(),)
        more = (numbers(self.mirror.actions, self.acted),) if actions_in else ()
        inputs = spec.inputs if not more and spec.inputs is None else (*entry, *more)
        return replace(spec, inputs=inputs, outputs=tuple(outputs))

    def action(self, signed: bool = True) -> TensorEntry:
        """Actions, or numbers that go with them and have no sign."""
        return numbers(self.mirror.actions, self.acted, signed)

    def run(self, kind: type[parts.Part], outputs: Sequence[TensorEntry], more: Sequence[Tensor] = ()) -> parts.Part:
        """A part, converted. more: arguments beside observations. Raises UsageError where it became two views."""
        part = kind(self.policy, self.normaliser).eval()  # chiralize works on a copy of it
        device = next(self.policy.parameters()).device
        example = tuple(value[:2].to(device) for value in (self.examples, *more))
        fitted: dict[str, Any] = {}
        if self.rows is not None:
            fitted["calibration"] = [(self.rows, *more)] if more else self.rows
        spec = self.spec(outputs, bool(more))
        result = chiralize(part.to(device), spec, example, **fitted, **self.options)
        # In form `folded` a result has the class of the part, but for an average, which is a module of two views.
        if not isinstance(result, kind):
            raise two_views(self.options["method"])
        return result


@dataclass(frozen=True)
class Result:
    """weights: those of the policy that changed.  normaliser: the new one."""

    weights: Mapping[str, Tensor]
    normaliser: parts.Normaliser | None
    actor: ConvertReport
    critic: ConvertReport | None


def converted(job: Job, with_critic: bool, not_done: list[str]) -> Result:
    """Actor and critic, together where they share weights.

    not_done: gets a sentence for what stays as it was, with the reason.  Raises what `chiralize` raises for the actor;
    a critic that cannot be converted is no reason to give up the actor.
    """
    policy = job.policy
    invariant = TensorEntry(flag="invariant")
    # SAC, TD3 and DDPG have an actor; PPO and A2C are one network with heads.
    if hasattr(policy, "actor"):
        is_spread = isinstance(getattr(policy.actor, "log_std", None), nn.Module)
        kind = _kind_of_actor(policy.actor, is_spread)
        actor = job.run(kind, [job.action(), job.action(signed=False)] if is_spread else [job.action()])
        return _with_critic(job, actor, parts.Critics, len(policy.critic.q_networks), with_critic, not_done)
    # A flattening extractor is shared, too, but has no weights that could be in the way.
    shares = policy.share_features_extractor and any(True for _ in policy.features_extractor.parameters())
    if shares:
        both = job.run(parts.MeanAndValue, [job.action(), invariant])
        report = _report(both)
        weights = parts.changed(policy.state_dict(), both.policy.state_dict())
        return Result(weights, _of(both), report, report)
    return _with_critic(job, job.run(parts.Mean, [job.action()]), parts.Value, 1, with_critic, not_done)


def _kind_of_actor(actor: Any, is_spread: bool) -> type[parts.Part]:
    """Which function of the policy its actor is. is_spread: the logarithm of the spread is a layer of its own."""
    if is_spread:
        return parts.Squashed
    if hasattr(actor, "log_std"):
        return parts.SquashedMean
    return parts.Deterministic


def _with_critic(
    job: Job, actor: parts.Part, kind: type[parts.Part], count: int, wanted: bool, not_done: list[str]
) -> Result:
    """The actor, and the critic by itself; one that cannot be converted is named."""
    before = job.policy.state_dict()
    weights = parts.changed(before, actor.policy.state_dict())
    result = Result(weights, _of(actor), _report(actor), None)
    if not wanted:
        not_done.append("the critic, as asked for")
        return result
    more: list[Tensor] = []
    if kind is parts.Critics:
        # Critics of Q are asked about actions as well: fitted on those that the policy takes.
        more.append(_actions(job, job.examples))
    try:
        critic = job.run(kind, [TensorEntry(flag="invariant")] * count, more)
    except ChiralizeError as error:
        not_done.append(f"the critic, which stays as it was ({error.code}: {error.facts})")
        return result
    if not _same(_of(actor), _of(critic)):
        not_done.append("the critic, which stays as it was: it wants other statistics of observations than the actor")
        return result
    weights = {**weights, **parts.changed(before, critic.policy.state_dict())}
    return replace(result, weights=weights, critic=_report(critic))


def _actions(job: Job, rows: Tensor) -> Tensor:
    """Actions that the policy takes, scaled to (-1, 1), with a little noise: what its critics are asked about."""
    generator = torch.Generator().manual_seed(0)
    seen = rows if job.normaliser is None else job.normaliser(rows)
    with torch.no_grad():
        device = next(job.policy.parameters()).device
        actions = job.policy._predict(seen.to(device), deterministic=True).cpu()
    return (actions + 0.1 * torch.randn(actions.shape, generator=generator)).clamp(-1, 1)


def _of(part: parts.Part) -> parts.Normaliser | None:
    """The normaliser of a part, None where it had none."""
    if not isinstance(part.normaliser, parts.Normaliser):
        return None
    return part.normaliser


def _same(first: parts.Normaliser | None, second: parts.Normaliser | None) -> bool:
    """Whether two parts want the same statistics: the model has one normaliser."""
    if first is None or second is None:
        return first is second
    return torch.equal(first.mean, second.mean) and torch.equal(first.var, second.var)


def _report(part: Any) -> ConvertReport:
    """The report of a converted part."""
    return part.chirality.report

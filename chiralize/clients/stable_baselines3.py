"""Stable-Baselines3: a trained model in, a new one out whose actor, critic, spread and normaliser are all symmetric.

    from chiralize.clients.stable_baselines3 import convert, observations, summary
    chiral = convert(model, "ant.yaml", calibration=observations(model, 5000))
    print(summary(chiral).to_text())
    chiral.save("chiral.zip")
    chiral.get_vec_normalize_env().save("vecnormalize.pkl")

Weights and normaliser belong together. The statistics of VecNormalize change with the conversion, and the first layers
make up for it: with the old statistics the new weights are another policy, which is not symmetric. So the model that
comes back has a normaliser of its own, and nothing of the given model is touched.
"""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.clients import _policies as parts
from chiralize.clients._actor_and_critic import WHERE, Job, Result, converted, two_views
from chiralize.clients._bounds import check_bounds
from chiralize.clients._normalizers import check_normalizer
from chiralize.clients._tables import Spec, TableMirror
from chiralize.errors import EquivarianceError, UsageError
from chiralize.report import ConvertReport
from chiralize.report.cautions import data_cautions
from chiralize.report.distance import distance

_TOLERANCE = 1e-4
"""Of the largest action: what rounding explains in float32, through normaliser, network and squashing."""
_PROBES = 64
"""Observations that `predict` is tried on in the end."""


@dataclass(frozen=True)
class Summary:
    """What a conversion of a model did.

    actor, critic: reports; None for a critic that stays as it was, and one report for both where they share layers.
    residual: the largest difference between `predict` on mirrored observations and mirrored actions, relative to the
    largest action; of `predict`, so normaliser, squashing and clipping are in it.
    value_residual: the same of values, nan where the critic was not converted.
    spread: largest factor by which a standard deviation changed that is a parameter, no answer to an observation; 1
    where there is none.
    remarks: what was done beside the weights.  not_done: what is not symmetric, and why.
    """

    actor: ConvertReport
    critic: ConvertReport | None
    residual: float
    value_residual: float
    spread: float
    remarks: tuple[str, ...]
    not_done: tuple[str, ...]

    def to_text(self) -> str:
        """The summary in lines."""
        lines = [f"actions: predict commutes with the mirror up to {self.residual:.1g}; {_distance(self.actor)}"]
        if self.critic is not None:
            lines.append(f"values: equal on both sides up to {self.value_residual:.1g}; {_distance(self.critic)}")
        lines += list(self.remarks)
        lines += [f"NOT SYMMETRIC: {sentence}" for sentence in self.not_done]
        return "\n".join(lines)


def _distance(report: ConvertReport) -> str:
    """By which method, and how far from the original, in the words of the report's headline."""
    return f"{report.method}; {distance(report, data_cautions(report.notes)).words}"


def summary(model: Any) -> Summary:
    """What `convert` did to make this model. Raises UsageError for another one, or one that was loaded again."""
    done = getattr(model.policy, "_chiralized", None)
    if done is None:
        raise UsageError("summary", "the model does not come from convert", "give the model that convert returned")
    return done


def convert(
    model: Any,
    spec: Spec,
    calibration: Any = None,
    *,
    method: str | None = None,
    normalizer: Any = None,
    critic: bool = True,
    **options: Any,
) -> Any:
    """A new model of the same class (PPO, A2C, SAC, TD3), equivariant as a whole; the given one is not touched.

    spec: its first input is the observation as the environment gives it, its first output the action.
    calibration: observations "sample observation", not normalised, to fit to; `method` is then `reduce`, else `match`.
    normalizer: the VecNormalize that the model was trained under, around an environment; by default the model's own.
    critic: convert it too. One that cannot be converted stays as it is, and the summary says so.
    options: of `chiralize`.
    Raises UsageError for other models and normalisers, actions whose bounds the mirror does not keep, a method that
    needs both views: before anything is converted where that can be known; EquivarianceError where `predict` does not
    commute with the mirror in the end; what `chiralize` raises.
    """
    _check(model)
    mirror = TableMirror.of(spec)
    # 1. What is converted: the model, behind the normaliser that it was trained under.
    if normalizer is None:
        normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        check_normalizer(model, normalizer)
    rows = None if calibration is None else _rows(model, calibration)
    wanted = {"method": method or ("match" if rows is None else "reduce"), "form": "folded", **options}
    if wanted["method"] == "average":
        raise two_views("average")
    # What can be refused is refused before anything is converted, which takes minutes.
    remarks, not_done = _before(model, mirror, normalizer)
    # 2. A copy, which becomes the result; loading one seeds generators of the whole process.
    with _same_random_numbers():
        chiral = _copy(model, normalizer)
    # The copy is converted: its weights are the original's until `_put_into`.
    job = Job(chiral.policy, mirror, _normaliser(normalizer), rows, wanted)
    # 3. Its parts, one by one.
    result = converted(job, critic, not_done)
    with _same_random_numbers():
        _put_into(chiral.policy, result)
        if normalizer is not None:
            _renew_normaliser(chiral.get_vec_normalize_env(), normalizer, result.normaliser, remarks)
        elif model.get_env() is not None:
            chiral.set_env(model.get_env())
    remarks.append("the optimizer starts anew: what it remembered belongs to the old weights")
    # 4. The model as a whole, as it will be used: `predict` with normalising, squashing and clipping.
    residuals = _residuals(chiral, mirror, normalizer, rows)
    if residuals[0] > _TOLERANCE:
        facts = f"predict is {residuals[0]:.2g} of its largest action from commuting with the mirror"
        raise EquivarianceError(
            WHERE, facts, "check the bounds of actions, and whether observations are normalised elsewhere"
        )
    _say_of_critic(result, not_done)
    value = residuals[1] if result.critic is not None else float("nan")
    done = Summary(
        result.actor, result.critic, residuals[0], value, _spread(model, chiral), tuple(remarks), tuple(not_done)
    )
    # A plain attribute: it is in no state_dict, and so in no file that `save` writes.
    object.__setattr__(chiral.policy, "_chiralized", done)
    return chiral


def observations(model: Any, count: int, *, deterministic: bool = False, env: Any = None) -> np.ndarray[Any, Any]:
    """Observations "sample observation" that the model meets in its environment, not normalised: for `calibration`.

    env: in place of the model's own, of the same kind (with its VecNormalize); it is reset, and stepped.
    Raises UsageError for a model without one.
    """
    if env is None:
        env = model.get_env()
    if env is None:
        raise UsageError("observations", "the model has no environment", "model.set_env(env) first, or give env=")
    normalizer = model.get_vec_normalize_env() if hasattr(env, "get_original_obs") else None
    training = getattr(normalizer, "training", None)
    if normalizer is not None:
        normalizer.training = False  # statistics are those that the policy was trained with
    rows: list[Any] = []
    seen = env.reset()
    while len(rows) * env.num_envs < count:
        rows.append(env.get_original_obs() if hasattr(env, "get_original_obs") else np.array(seen))
        seen = env.step(model.predict(seen, deterministic=deterministic)[0])[0]
    if normalizer is not None:
        normalizer.training = training
    return np.concatenate(rows)[:count]


# ---- what there is -----------------------------------------------------------------------------------------------
def _check(model: Any) -> None:
    """Raise UsageError for what is no model with one array in and one out."""
    from importlib import import_module

    policies: Any = import_module("stable_baselines3.common.policies")
    spaces: Any = import_module("gymnasium.spaces")
    policy = getattr(model, "policy", None)
    if not isinstance(policy, policies.BasePolicy):
        remedy = "give a model (PPO.load(...)), not its policy: its normaliser and its targets belong to it"
        raise UsageError(WHERE, f"{type(model).__name__} is no model of Stable-Baselines3", remedy)
    if not isinstance(policy, policies.ActorCriticPolicy) and not hasattr(policy, "actor"):
        raise UsageError(WHERE, f"{type(model).__name__} has no actor", "PPO, A2C, SAC, TD3 and DDPG have one")
    for name in ("observation_space", "action_space"):
        space = getattr(model, name)
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            facts = f"its {name} is {space}"
            raise UsageError(WHERE, facts, "give a model of one vector each, or convert its networks with chiralize()")


def _rows(model: Any, calibration: Any) -> Tensor:
    """Calibration as "sample observation", float32. Raises UsageError for another shape, or numbers that are none."""
    given = np.asarray(calibration)
    size = model.observation_space.shape[0]
    if given.ndim != 2 or given.shape[1] != size or given.dtype.kind not in "fiu":
        facts = f"its shape is {given.shape} ({given.dtype}), and the model's observations have {size} numbers"
        raise UsageError("calibration", facts, "give observations(model, 5000)")
    return torch.as_tensor(given, dtype=torch.float32)


def _before(model: Any, mirror: TableMirror, normalizer: Any) -> tuple[list[str], list[str]]:
    """What is to be said before anything is converted: remarks, and what will not be symmetric."""
    remarks: list[str] = []
    not_done: list[str] = []
    # Squashed actions are scaled to their bounds, always; others are clipped, which matters only where they reach them.
    is_scaled = bool(model.policy.squash_output)
    off = check_bounds(model.action_space, mirror.actions, WHERE, refuse=is_scaled)
    if off:
        not_done.append(f"actions are clipped to bounds that the mirror does not keep ({off})")
    if normalizer is None:
        remarks.append(
            "no VecNormalize is known: if the model was trained under one, give it by normalizer= or the environment"
        )
    if getattr(model, "use_sde", False):
        not_done.append(
            "gSDE draws its noise from hidden units: samples are not mirrored, predict(deterministic=True) is"
        )
    return remarks, not_done


def _normaliser(normalizer: Any) -> parts.Normaliser | None:
    """A VecNormalize as a module; None where there is none, or where it leaves observations as they are."""
    if normalizer is None or not normalizer.norm_obs:
        return None
    rms = normalizer.obs_rms
    return parts.Normaliser(rms.mean, rms.var, normalizer.epsilon, normalizer.clip_obs)


# ---- the new model -----------------------------------------------------------------------------------------------
def _copy(model: Any, normalizer: Any) -> Any:
    """A copy of the model, by saving and loading it, in a copy of its normaliser around the same environment."""
    memory = io.BytesIO()
    model.save(memory)
    memory.seek(0)
    if normalizer is None:
        return type(model).load(memory, device=model.device)
    again = pickle.loads(pickle.dumps(normalizer))  # its own bytes, a moment ago: it leaves the environment out
    again.set_venv(normalizer.venv)
    return type(model).load(memory, env=again, device=model.device)


def _put_into(policy: Any, result: Result) -> None:
    """Put weights into a policy and its targets, and forget what optimizers remember."""
    policy.load_state_dict({**policy.state_dict(), **result.weights})
    for name in ("actor", "critic"):
        if hasattr(policy, f"{name}_target"):
            # Targets lag behind in training; here they begin at the new weights.
            getattr(policy, f"{name}_target").load_state_dict(getattr(policy, name).state_dict())
    for part in (policy, getattr(policy, "actor", None), getattr(policy, "critic", None)):
        optimizer = getattr(part, "optimizer", None)
        if optimizer is not None:
            optimizer.state.clear()


def _spread(model: Any, chiral: Any) -> float:
    """The largest factor by which a standard deviation changed that is a number of its own."""
    before, after = (getattr(either.policy, "log_std", None) for either in (model, chiral))
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return 1.0
    return float((after - before).abs().max().exp())


def _renew_normaliser(new: Any, old: Any, symmetric: parts.Normaliser | None, remarks: list[str]) -> None:
    """Give the new model's normaliser the symmetric statistics."""
    if symmetric is None:
        return
    new.obs_rms.mean = symmetric.mean.double().cpu().numpy()
    new.obs_rms.var = symmetric.var.double().cpu().numpy()
    # In spreads of the old statistics: a policy under the old normaliser would see its inputs shifted by so much.
    moved = np.abs(new.obs_rms.mean - old.obs_rms.mean) / np.sqrt(old.obs_rms.var + 1e-8)
    remarks.append(
        f"the normaliser is a new one (means moved by up to {moved.max():.2g} spreads): weights and normaliser go "
        "together, save both: get_vec_normalize_env().save(...)"
    )


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leave the generators that a model seeds when it is loaded as they are."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _say_of_critic(result: Result, not_done: list[str]) -> None:
    """Note that a critic that was not converted reads observations through the new normaliser as well."""
    if result.critic is None and result.normaliser is not None:
        not_done.append("the critic's inputs, which the new normaliser changes: train it before its values are used")


# ---- the check ---------------------------------------------------------------------------------------------------
def _residuals(chiral: Any, mirror: TableMirror, normalizer: Any, rows: Tensor | None) -> tuple[float, float]:
    """How far `predict` and the values are from commuting with the mirror, as they would be used."""
    # Real observations where there are some; the mirror acts on raw ones, each is then normalised.
    seen = rows[:_PROBES].numpy() if rows is not None else _drawn(chiral, normalizer)
    symmetric = chiral.get_vec_normalize_env()
    views = []
    for raw in (seen, mirror.observations(seen)):
        views.append(symmetric.normalize_obs(raw) if symmetric is not None else raw)
    first, second = (chiral.predict(view, deterministic=True)[0] for view in views)
    actions = float(np.abs(mirror.actions(first) - second).max() / max(np.abs(first).max(), 1e-6))
    values = [_values(chiral, view, action) for view, action in zip(views, (first, mirror.actions(first)), strict=True)]
    gap = float((values[0] - values[1]).abs().max() / values[0].abs().max().clamp(min=1e-6))
    return actions, gap


def _values(model: Any, seen: Any, actions: Any) -> Tensor:
    """What the critics say of observations and actions, "sample critic"; of PPO and A2C without actions."""
    policy = model.policy
    with torch.no_grad():
        obs = torch.as_tensor(seen, dtype=torch.float32, device=policy.device)
        if hasattr(policy, "critic"):
            scaled = torch.as_tensor(policy.scale_action(actions), dtype=torch.float32, device=policy.device)
            return torch.cat(policy.critic(obs, scaled), 1)
        return policy.predict_values(obs)


def _drawn(model: Any, normalizer: Any) -> Any:
    """Observations to try, by the moments of the normaliser, or of spread 1."""
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((_PROBES, *model.observation_space.shape))
    if normalizer is not None and normalizer.norm_obs:
        drawn = normalizer.obs_rms.mean + drawn * np.sqrt(normalizer.obs_rms.var)
    return drawn.astype(np.float32)

"""Policies of Stable-Baselines3, rebuilt from the readable half of a model's JSON.

The other half are pickles, base64 in the text.  They are never loaded; of the one that is the class, only the name is
read off.  Sizes of spaces and of layers stand in plain JSON beside them.

`formats/sb3.py` asks for a builder.  It calls the package's own class, as the algorithm does, by consent
(`--model auto`): of a class `stable_baselines3.common.policies.ActorCriticPolicy`, observations of shape (24,),
actions of shape (6,) and net_arch [64, 64] comes a policy whose weights have the names of `policy.pth`.  A policy of
the package answers with more than the action, so that a subclass with a `forward` of its own is built.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import re
from collections.abc import Callable
from typing import Any

import torch

from chiralize.errors import FactoryError, MissingPackageError, ModelFileError, UsageError
from chiralize.errors.words import first_line
from chiralize.storage.unpickle import imported_names

_PACKAGE = "stable_baselines3"
_POLICY = re.compile(rf"{_PACKAGE}\.[\w.]+\.\w*Policy")
_ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>")
_BY_MODEL = "name your own network by --model; its names are those in policy.pth"


def policy_builder(data: bytes, where: str) -> tuple[str, Callable[[], torch.nn.Module] | None]:
    """The policy's class, and what builds the network that answers with the deterministic action; "" and None else.

    data: the member `data` of the archive.  Raises ModelFileError where it is no JSON; the builder raises
    MissingPackageError, UsageError, FactoryError.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            where, f"its member 'data' is not valid JSON ({error})", "save the model again."
        ) from error
    name = _class_name(table.get("policy_class")) if isinstance(table, dict) else ""
    if not _POLICY.fullmatch(name):
        return "", None
    return name, lambda: _built(name, table, where)


def _class_name(entry: Any) -> str:
    """The class that a pickled entry is, by the name that it imports."""
    text = entry.get(":serialized:") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        return ""
    try:
        names = list(imported_names(base64.b64decode(text, validate=True)))
    except (ValueError, binascii.Error):
        return ""
    return names[0] if len(names) == 1 else ""


def _built(name: str, table: dict[str, Any], where: str) -> torch.nn.Module:
    """The policy with untrained weights.  Raises MissingPackageError, UsageError, FactoryError."""
    module_name, _, class_name = name.rpartition(".")
    try:
        policy = getattr(importlib.import_module(module_name), class_name)
        bases: Any = importlib.import_module(f"{_PACKAGE}.common.policies")
        box: Any = importlib.import_module("gymnasium.spaces").Box
    except (ImportError, AttributeError) as error:
        facts = f"its class {name} cannot be imported ({first_line(error)})"
        raise MissingPackageError(where, facts, f"pip install stable-baselines3, or {_BY_MODEL}") from error
    if not (isinstance(policy, type) and issubclass(policy, bases.BasePolicy)):
        raise UsageError(where, f"{name} is no policy", _BY_MODEL)
    # The bounds of the spaces are not read: the sizes of layers do not depend on them.
    observed, acted = (box(-1.0, 1.0, _shape(table, space, where)) for space in ("observation_space", "action_space"))
    options = _options(table.get("policy_kwargs"), where)
    if issubclass(policy, bases.ActorCriticPolicy):
        base = _actor(policy)
        # The algorithm hands this on beside the arguments of the policy; those of SAC hold it themselves.
        options.setdefault("use_sde", table.get("use_sde") is True)
    else:
        base = _predicting(policy)
    try:
        policy = base(observed, acted, lambda _: 0.0, **options)
        policy.normaliser = torch.nn.Identity()
        return policy
    except Exception as error:  # the package's own code, given whatever the file says
        if isinstance(error, UsageError):
            raise
        facts = f"{name} cannot be built ({type(error).__name__}: {first_line(error)})"
        raise FactoryError(where, facts, _BY_MODEL) from error


def _actor(policy: Any) -> Any:
    """The class of a policy with a value beside its actions (PPO, A2C), which answers with the actions alone."""

    class Deterministic(policy):
        """The policy, called with observations; it answers with the mean of the actions, or with logits.

        Where the policy squashes its actions, in (-1, 1).
        """

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            """Actions "batch action" of observations "batch observation"."""
            features = self.extract_features(self.normaliser(obs), self.pi_features_extractor)
            mean = self.action_net(self.mlp_extractor.forward_actor(features))
            return torch.tanh(mean) if self.squash_output else mean

    return Deterministic


def _predicting(policy: Any) -> Any:
    """The class of any other policy (SAC, TD3, DQN), which answers with its deterministic action."""

    class Deterministic(policy):
        """The policy, called with observations; it answers with its deterministic action, in (-1, 1)."""

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            """Actions "batch action" of observations "batch observation"."""
            obs = self.normaliser(obs)
            parameters_of = getattr(getattr(self, "actor", None), "get_action_dist_params", None)
            if parameters_of is None:
                return self._predict(obs, deterministic=True)
            # SAC draws from a distribution, of which torch.export cannot take the checks; its mode is this.
            return torch.tanh(parameters_of(obs)[0])

    return Deterministic


def _shape(table: dict[str, Any], space: str, where: str) -> tuple[int, ...]:
    """The shape of a space of numbers, of gymnasium or of gym, which calls it otherwise.  Raises UsageError."""
    entry = table.get(space)
    if not isinstance(entry, dict):
        entry = {}
    sizes = entry.get("_shape", entry.get("shape"))  # gymnasium's name, then gym's
    is_box = str(entry.get(":type:")).endswith("box.Box'>")
    if not is_box or not isinstance(sizes, list) or not all(type(size) is int and 0 < size < 10**6 for size in sizes):
        raise UsageError(where, f"its {space} is not a Box of numbers", _BY_MODEL)
    return tuple(sizes)


def _options(entry: Any, where: str) -> dict[str, Any]:
    """Arguments of the policy that stand in plain JSON.  Raises UsageError for one that only a pickle holds."""
    options: dict[str, Any] = {}
    for name, value in entry.items() if isinstance(entry, dict) else ():
        if name.startswith((":", "optimizer")):
            continue
        options[name] = value
        if isinstance(value, str):
            activation = _ACTIVATION.fullmatch(value)
            if activation is None:
                facts = f"its policy was built with {name}={value[:60]}, which only a pickle holds"
                raise UsageError(where, facts, _BY_MODEL)
            options[name] = getattr(torch.nn, activation.group(1))
    return options

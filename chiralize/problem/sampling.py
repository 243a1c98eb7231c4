"""What to give of a policy that draws its actions at random, or answers with more than its actions.

Policies are classes of trainers, and a trainer's class says where its mean is. Nothing is imported to find out: classes
are known by the names in their inheritance. A drawn action is not equivariant, its mean is, so that the mean is asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from chiralize.errors import ChiralizeError, NoRuleError, WrongValueError

_MEANS = ("actor_mean", "action_mean", "mean_net", "mu_net", "mean_head", "actor", "pi", "mu")
"""Names of parts that compute the mean; those that say so first."""
_DRAWS = "draws random numbers"
_COUNTED = "outputs are described"
"""What errors say by which they are known here."""


@contextmanager
def naming_the_mean(advice: str) -> Iterator[None]:
    """Say in the remedy what to give instead, where an error is about random numbers or about further outputs.

    advice: `mean_of` the model.
    """
    try:
        yield
    except (NoRuleError, WrongValueError) as error:
        is_about = _DRAWS in error.facts or (_COUNTED in error.facts and isinstance(error, WrongValueError))
        if is_about and advice and advice not in error.remedy:
            _say(error, f"{advice}. Otherwise: {error.remedy}")
        raise


def mean_of(model: Any, entry: str = "forward") -> str:
    """How the mean of a policy's actions is asked for; "" where nothing says that it is a policy."""
    kinds = [f"{kind.__module__}.{kind.__name__}" for kind in type(model).__mro__]
    if any(kind.startswith("stable_baselines3.") for kind in kinds):
        return _of_stable_baselines3(kinds)
    if any(kind.startswith("tensordict.nn.") for kind in kinds):
        return _of_tensordict(kinds)
    if isinstance(model, torch.nn.Module):
        for name in _MEANS:
            if isinstance(getattr(model, name, None), torch.nn.Module):
                return f"give its head for the mean of the actions, model.{name}"
    called = getattr(model, entry, None)
    if called is not None and "deterministic" in _arguments(called):
        return "ask for the mean: example_kwargs={'deterministic': True}"
    return ""


def _of_stable_baselines3(kinds: list[str]) -> str:
    """How a policy of Stable-Baselines3 is asked.  kinds: its class and all above, with their modules."""
    whole = "chiralize.clients.stable_baselines3.convert(model, spec) converts a whole model"
    if any(kind.endswith(".ActorCriticPolicy") for kind in kinds):
        return f"{whole}; of its policy the mean is entry='_predict' with example_kwargs={{'deterministic': True}}"
    return f"{whole}; of its policy the mean is asked for by example_kwargs={{'deterministic': True}}"


def _of_tensordict(kinds: list[str]) -> str:
    """The same of a module that reads and writes TensorDicts, as TorchRL's actors do."""
    tensors = "called with tensors, such as example_inputs=(td['observation'],), it answers with its out_keys alone"
    if any("Probabilistic" in kind for kind in kinds):
        return f"give the module before the distribution, which computes the mean (actor[0]); {tensors}"
    return tensors


def _arguments(called: Any) -> tuple[str, ...]:
    """The names of a function's arguments; none where they cannot be read, as of a script."""
    try:
        return tuple(inspect.signature(called).parameters)
    except (TypeError, ValueError):
        return ()


def _say(error: ChiralizeError, remedy: str) -> None:
    """Give an error another remedy."""
    error.remedy = remedy
    error.args = (str(error),)  # the text was made with the former remedy

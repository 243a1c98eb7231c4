"""The part of `audit` that runs policies: original, flip average and result, from starts and from mirrored starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from chiralize.errors import UsageError
from chiralize.errors.words import first_line
from chiralize.graph.isolation import exclusive
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.storage.factory import imported, working_folder_importable
from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import HOOK, Environment
from chiralize.verification.closed_loop.film import Film, film_of
from chiralize.verification.closed_loop.probe import probe
from chiralize.verification.closed_loop.records import AVERAGE, FEW, ORIGINAL, RESULT, Rollout
from chiralize.verification.closed_loop.running import Walk, unit_of, walk, walker_of

EPISODES, STEPS = 10, 500
_OPTION = "--rollout"


EnvironmentMaker = str | Callable[[], Any]
"""`package.module:function`, or the function itself."""


def environment_of(maker: EnvironmentMaker) -> Environment:
    """The environment that a function returns. Raises FactoryError, UsageError."""
    name, function = getattr(maker, "__name__", "the environment"), maker
    if isinstance(maker, str):
        name, function = maker, imported(maker, _OPTION, "your_package.your_module:make_env")
    assert callable(function)
    try:
        with working_folder_importable(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that it is made of
            raw = function()
    except (Exception, SystemExit) as error:  # the user's own code
        facts = f"{name}() raised {type(error).__name__}: {first_line(error)}"
        raise UsageError(_OPTION, facts, "name a function without arguments that returns an environment") from error
    return Environment(raw, name)


@exclusive
def rollouts(
    network: Network,
    environment: Environment,
    result: Network | None = None,
    *,
    names: Sequence[str] = (),
    episodes: int = EPISODES,
    steps: int = STEPS,
    film: bool = False,
    double: bool = False,
    progress: Progress = silent,
) -> tuple[Rollout, Film | None]:
    """What the policies do in the environment; and pictures of the first start, where they are wanted.

    result: the converted network, None without one.  names: of the arguments of forward.  episodes: starts, each of
    which is run from its mirror image as well.  steps: of an episode at most.  film: whether to draw the first start.
    double: run the policies in float64.
    Raises UsageError where network and environment do not fit, ModelRunError where one of them fails.
    """
    networks = {ORIGINAL: network, AVERAGE: network}
    if result is not None:
        networks[RESULT] = result
    notes: list[str] = []
    walks: list[Walk] = []
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's environment, at every step
        stack.callback(environment.close)
        environment.find_mirror(network.resolved.spec.skeleton.lateral)
        policies = {name: stack.enter_context(Policy(each, names, double)) for name, each in networks.items()}
        checked = None
        if environment.how == "view":
            notes.append(
                f"starts cannot be mirrored, since {environment.unsettled}: the mirror image of each policy runs from "
                f"the same starts instead, which takes the environment to be symmetric; {HOOK}(seed) would show it"
            )
        else:
            progress("asking the environment whether it is its own mirror image")
            checked = probe(environment, policies[ORIGINAL], episodes)
        for number, (name, policy) in enumerate(policies.items()):
            report = partial(_report, progress, name, number, len(policies))
            walks.append(walk(environment, policy, name, episodes, steps, report))
        walkers = [walker_of(environment, policies[walked.name], walked) for walked in walks]
        if episodes < FEW:
            notes.append(f"fewer than {FEW} starts say little: give more --episodes")
        pictures = None
        if film:
            pictures, remark = film_of(environment, walks)
            notes += [remark] if remark else []
    unit, apart = unit_of(environment)
    return Rollout(
        environment.name, steps, environment.how, tuple(walkers), checked, unit, apart, tuple(notes)
    ), pictures


def _report(progress: Progress, name: str, number: int, count: int, share: float) -> None:
    progress(f"running the {name}", (number + share) / count)

"""Policies in their environment, for `audit` and `convert`: original, flip average and result, from starts and from
mirrored starts.

A `Loop` holds one environment and the policy of the original, and is asked in this order:

    trial(...)       before a conversion: does the environment mirror what is seen and done as T does (else
                     MirrorError), and does the original stay up at all (else UsageError)?
    observations()   inputs to fit on, where the user gives none
    judged(...)      after it: does the result return at least 0.9 of the original, and not fall more (else DriftError)?

The original and its flip average run once, in `_originals`; the candidates of `auto` are compared with the same walks.
`verification.closed_loop` runs the episodes; here is only the order of the questions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from chiralize.commands.records import Conversion, Trial
from chiralize.errors import DriftError, MirrorError, UsageError
from chiralize.errors.words import first_line
from chiralize.graph.isolation import exclusive
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call
from chiralize.nn.deploy.export import example_call
from chiralize.nn.two_view import TwoView
from chiralize.problem.data.feeds import joined
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.progress import Progress, silent
from chiralize.problem.several import under_each
from chiralize.report.loop_cautions import mirror_faults
from chiralize.report.loop_words import even_starts_in_words, loss_in_words
from chiralize.storage.factory import imported, working_folder_importable
from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import HOOK, Environment
from chiralize.verification.closed_loop.film import Film, film_of
from chiralize.verification.closed_loop.probe import probe
from chiralize.verification.closed_loop.recording import Track, calls_of, recorded, sequences_of
from chiralize.verification.closed_loop.records import (
    AVERAGE,
    FEW,
    ORIGINAL,
    RESULT,
    How,
    Probe,
    Rollout,
    Walker,
)
from chiralize.verification.closed_loop.rivals import with_rival
from chiralize.verification.closed_loop.running import Walk, unit_of, walk, walker_of
from chiralize.verification.evidence.remedies import first_with_figures
from chiralize.verification.verdicts import Evidence

EPISODES, STEPS = 10, 500
"""Starts, each of which is run from its mirror image as well, and steps of an episode, by default."""
_OPTION = "--rollout"
_CHECK_MIRROR = (
    "correct these in the specification (`chiralize skeleton check --robot ROBOT.xml SPEC.yaml` asks the robot's own "
    "model); --force converts all the same"
)
_CHECK_ENVIRONMENT = (
    "check units, offsets, scales and the order of what the environment shows and of what it takes, against the "
    "policy's own runner; --force converts all the same"
)
EnvironmentMaker = str | Callable[[], Any]
"""`package.module:function`, or the function itself."""


def environment_of(maker: EnvironmentMaker) -> Environment:
    """The environment that a function returns. Raises FactoryError, UsageError.

    The function is looked for in the working folder as well, and what it raises becomes a UsageError.
    """
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


@dataclass(frozen=True)
class Episodes:
    """How policies are run. count: starts, each of which is run from its mirror image as well.  steps: of an episode
    at most.  double: in float64.
    """

    count: int = EPISODES
    steps: int = STEPS
    double: bool = False


class Loop:
    """An environment, as a context manager, in which the original runs, its flip average, and results beside them.

    names: of the arguments of forward.  Raises UsageError where network and environment do not fit, ModelRunError
    where one of them fails.
    """

    def __init__(
        self,
        network: Network,
        environment: Environment,
        names: Sequence[str] = (),
        episodes: Episodes = Episodes(),
        progress: Progress = silent,
    ) -> None:
        self.network, self.environment, self.names = network, environment, names
        self.episodes, self.progress = episodes, progress
        self.stack = ExitStack()

    def __enter__(self) -> Loop:
        with ExitStack() as stack, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's environment
            # The environment is closed where a later line fails; where none does, `pop_all` leaves that to `__exit__`.
            stack.callback(self.environment.close)
            self.environment.find_mirror(self.network.resolved.spec.skeleton.lateral)
            self.policy = self._policy(self.network, stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _policy(self, network: Network, stack: ExitStack) -> Policy:
        """A network that acts in the environment, until the stack is closed."""
        return stack.enter_context(Policy(network, self.names, self.episodes.double))

    @cached_property
    def _originals(self) -> _Originals:
        """What is run once, however many results there are; `record` silences what environments warn of."""
        environment = self.environment
        walks = (self._walk(self.policy, ORIGINAL), self._walk(self.policy, AVERAGE))
        original, average = (walker_of(environment, self.policy, walked) for walked in walks)
        return _Originals(walks, original, average)

    @cached_property
    def _probe(self) -> Probe | None:
        """Whether the environment is its own mirror image, None where its starts cannot be mirrored."""
        if self.environment.how == "view":
            return None
        self.progress("asking the environment whether it is its own mirror image")
        # Random actions at first; where that leaves T in doubt, mirrors near T are asked as well.
        probed = probe(self.environment, self.policy, self.episodes.count)
        return with_rival(self.environment, self.policy, probed, self.episodes.count)

    def _walk(self, policy: Policy, name: str) -> Walk:
        """The episodes of a policy from all starts and their mirror images. name: as progress and report call it."""

        def report(share: float) -> None:
            """Say how many of the starts are done."""
            self.progress(f"running the {name}", share)

        return walk(self.environment, policy, name, self.episodes.count, self.episodes.steps, report)

    @exclusive
    def record(self, result: Network | None = None, *, film: bool = False) -> tuple[Rollout, Film | None]:
        """What the policies do; and pictures of the first start, where they are wanted.

        result: the converted network, None without one.
        """
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # of the user's environment, at every step
            # The original and its average have walked once; only the result runs now.
            walkers, walks = [self._originals.original, self._originals.average], list(self._originals.walks)
            if result is not None:
                policy = self._policy(result, stack)
                walks.append(self._walk(policy, RESULT))
                walkers.append(walker_of(self.environment, policy, walks[-1]))
            pictures, remark = film_of(self.environment, walks) if film else (None, "")
        return self._rollout(walkers, (remark,) if remark else ()), pictures

    def _rollout(self, walkers: Sequence[Walker], remarks: Sequence[str] = ()) -> Rollout:
        """The record of some policies, the original first, with notes on what was not measured."""
        environment, notes = self.environment, list[str]()
        if environment.how == "view":
            notes.append(
                f"starts cannot be mirrored, since {environment.unsettled}: the mirror image of each policy runs from "
                f"the same starts instead, which takes the environment to be symmetric; {HOOK}(seed) would show it"
            )
        notes += self._of_further_mirrors()
        if self.episodes.count < FEW:
            notes.append(f"fewer than {FEW} starts say little: give more --episodes")
        unit, apart = unit_of(environment)
        steps = self.episodes.steps
        record = Rollout(environment.name, steps, environment.how, tuple(walkers), self._probe, unit, apart)
        return replace(record, notes=(*notes, *remarks), plane=environment.plane)

    def trial(self, is_forced: bool) -> Trial:
        """What tries results of a conversion. The mirror itself is tried at once, unless forced.

        Of several mirrors each is. Raises MirrorError where the environment mirrors what is seen or done otherwise than
        T does, UsageError where the original falls at once, so that no return says anything.
        """
        if not is_forced:
            self._refuse_wrong_mirror()
            self._refuse_falling()
        return self.judged

    @exclusive
    def _refuse_falling(self) -> None:
        """Raise UsageError where the original falls from every start at once: a result could do no worse."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's environment, at every step
            record = self._rollout([self._originals.original])
        if not record.fell_at_once(record.original):
            return
        facts = (
            f"in {self.environment.name} the original falls from every start, after {record.original.mean_steps:.0f} "
            f"of {record.steps} steps on average, so that no return says anything"
        )
        raise UsageError(_OPTION, facts, _CHECK_ENVIRONMENT)

    @exclusive
    def _refuse_wrong_mirror(self) -> None:
        """Raise MirrorError for the first mirror that the environment contradicts."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's environment, at every step
            # The environment's word on each mirror, the first one under the name of the option.
            asked = {_OPTION: self._probe}
            asked |= {f"{_OPTION} under {name}": further for name, further in self._further.items()}
        for where, probed in asked.items():
            if probed is not None and probed.contradicts:
                raise MirrorError(where, _faults(probed, self.environment.how), _CHECK_MIRROR)

    @cached_property
    def _further(self) -> Mapping[str, Probe | None]:
        """What the environment says of the mirrors beside the first, None where it cannot mirror its own state."""
        # The first mirror is that of `_probe`.
        _, *further = under_each(self.network).items()
        probes: dict[str, Probe | None] = {}
        for name, network in further:
            self.progress(f"asking the environment about {name}")
            environment = self._environment_of(network)
            probes[name] = None
            if environment is not None:
                with Policy(network, self.names, self.episodes.double) as policy:
                    probes[name] = probe(environment, policy, self.episodes.count)
        return probes

    def _environment_of(self, network: Network) -> Environment | None:
        """The environment with a mirror beside the first; None where it cannot mirror its own state.

        One that turns its starts itself (by its hook) knows one mirror.
        """
        # The same simulator, read by another lateral axis: it is not opened a second time.
        environment = Environment(self.environment.raw, self.environment.name)
        environment.find_mirror(network.resolved.spec.skeleton.lateral)
        return environment if environment.how == "state" else None

    def _of_further_mirrors(self) -> list[str]:
        """What is not measured under mirrors beside the first."""
        if not self._further:
            return []
        first = next(iter(under_each(self.network)))
        remarks = [f"mirrored starts and gaps are those of {first} alone"]
        for name, probed in self._further.items():
            if probed is None:
                remarks.append(f"the environment was not asked about {name}: its starts cannot be mirrored by that")
            elif probed.contradicts:
                remarks.append(f"under {name} {_faults(probed, self.environment.how)}")
        return remarks

    @exclusive
    def observations(self) -> tuple[Sequence[Call], Sequence[Steps], str]:
        """What the original sees in episodes from other starts, as real inputs; and what they are, in words.

        Calls; beside them sequences where the network carries something from call to call.
        """
        self.progress("recording what the original sees")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's environment, at every step
            count, steps = self.episodes.count, self.episodes.steps
            _, *further = under_each(self.network).values()
            turned = [environment for environment in map(self._environment_of, further) if environment is not None]
            # Starts are numbered from `count` on: returns are taken from 0 to count - 1, so that nothing is judged on
            # starts that it was fitted on.
            tracks: list[Track] = recorded([self.environment, *turned], self.policy, count, count, steps)
        seen = sum(map(len, tracks))
        remark = (
            f"{seen:,} observations that the original made in {self.environment.name}, in {len(tracks)} "
            "episodes from other starts than those that returns are taken from"
        )
        if self.network.carried:
            sequences = sequences_of(self.network, self.policy.reads, tracks)
            return joined(*sequences), sequences, remark
        return calls_of(self.network, self.policy.reads, tracks), (), remark

    @exclusive
    def judged(self, conversion: Conversion, is_forced: bool = False) -> Conversion:
        """The conversion, with what it does in the loop in its report.

        Raises DriftError where it returns less than 0.9 of the original, or falls clearly more often, unless forced.
        Where the original itself falls at once, returns say nothing.
        """
        report = conversion.report
        # The average over several mirrors has more views, and a network that is claimed in part answers the rest as the
        # original does: neither is the flip average that has walked already.
        is_flip_average = report.is_average and report.claims is None and report.way.views == 2
        if is_flip_average:
            record, _ = self.record()
            record = replace(record, walkers=(*record.walkers, replace(record.average, name=RESULT)))
        else:
            # Made ready as any file of a user's, from what is handed over. Two views carry a state each, so that the
            # states of its example are twice as wide.
            example = example_call(self.network, isinstance(conversion.module, TwoView))
            result = prepare(conversion.program or conversion.module, self.network.spec, *example)
            record, _ = self.record(result)
        if not is_forced:
            refuse_lost(record, report.model, report.method, self.first_of(report.evidence))
        return replace(conversion, report=replace(report, rollout=record))

    def first_of(self, evidence: Evidence) -> str:
        """What to look at first where T may not be the mirror; "" where nothing says so."""
        if evidence.fit is None or not (evidence.warnings or evidence.fit.better):
            return ""
        return first_with_figures(evidence.fit, self.network.resolved.spec)


@dataclass(frozen=True)
class _Originals:
    """The original and its flip average."""

    walks: tuple[Walk, Walk]
    original: Walker
    average: Walker


def _faults(probed: Probe, how: How) -> str:
    """What of T the environment contradicts."""
    return "; ".join(text for text, _ in mirror_faults(probed, how))


def refuse_lost(rollout: Rollout, name: str, method: str, doubt: str = "") -> None:
    """Raise DriftError where the result returns less than the original by more than is no matter, or falls more.

    doubt: what to look at first, where T may not be the mirror.
    """
    if not rollout.is_lost:
        return
    facts = f"{method}: in the loop {loss_in_words(rollout)}"
    remedy = "use --method average or a larger --width, fit on more --calibration, or --force"
    # Where the flip average, which is no fit at all, returns less as well, a better fit would not help.
    if rollout.is_short(rollout.average) and rollout.begins_even:
        remedy = even_starts_in_words(rollout)
    elif rollout.is_short(rollout.average):
        remedy = (
            "the flip average returns less, too: the gait is one-sided. Train on with mirrored samples first; or write "
            "the result by --force, and train that on"
        )
    if doubt:
        remedy = f"T may not be the mirror: {doubt}. Where it is, {remedy}"
    raise DriftError(name, facts, remedy)

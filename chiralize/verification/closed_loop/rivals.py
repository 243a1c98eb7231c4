"""Whether an environment that seems asymmetric is symmetric under a mirror near T, asked of the environment itself.

Where T has the sign of a joint wrong both in what is seen and in what is done, mirrored actions move that joint the
wrong way, and what is seen of it has the wrong sign, too: nearly the two make up for each other. A joint that begins
at 0 shows nothing at the start. With the right sign the environment is its own mirror image.

Example: the torso's roll is negated by the mirror, and the specification keeps it. T of an action rolls to the same
side, and T of what is seen says so: the two agree in that entry, and only what follows from it differs. `commands`
asks this after `probe`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

from chiralize.errors import ChiralizeError
from chiralize.problem.mirror import resolved_as
from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.probe import probe
from chiralize.verification.closed_loop.records import MIRRORED, Probe, Rival
from chiralize.verification.evidence.neighbours import with_other_signs_of_joints

_CLEARLY = 0.2
"""With the right sign no more than this share of the difference is left, or nothing at all."""
_MOST = 4
"""Mirrors that are tried, a probe each."""


def with_rival(environment: Environment, policy: Policy, probed: Probe, starts: int) -> Probe:
    """What is known of the environment, and the signs of joints with which mirrored actions do the mirrored thing.

    Asked only where nothing else contradicts T, and what is seen after some steps differs.  Raises ModelRunError.
    """
    is_asked = not probed.contradicts and max(probed.start, probed.repeated) <= MIRRORED < probed.steps
    if not is_asked or probed.contrary.opposed:
        return probed
    # Joints are found by the words of the entries that differ most: `knee_left.velocity (0.4)` names knee_left.
    words = {word for entry in probed.entries for word in re.findall(r"[\w-]+", entry)}
    for neighbour in islice(with_other_signs_of_joints(policy.network.resolved, words), _MOST):
        try:
            _, mirror = resolved_as(policy.network, neighbour.spec)
        except ChiralizeError:  # it does not fit the sizes
            continue
        other = probe(environment, policy.under(mirror), starts)
        if (
            other.start <= MIRRORED
            and other.ends == probed.ends
            and other.steps <= max(MIRRORED, _CLEARLY * probed.steps)
        ):
            contrary = replace(probed.contrary, rival=Rival(neighbour.name, other.steps))
            return replace(probed, contrary=contrary)
    return probed

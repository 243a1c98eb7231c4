"""Other partners of joints, read off the inputs: where they lie in the mean tells which joint mirrors which.

Under T a joint lies, in the mean over both sides, where the mirror image of its partner does. Where some joints do not,
and each lies where the image of another one of them does, their pairs are crossed, and the data are not one-sided.
Joints that are near each other, as heel and toe, are within their spreads all the same: of many pairs, those that lie
better crossed are tried, and each with the pair that it is nearest to.

Example in one coordinate, negated, with spreads of 0.1: the means are left_hip 0.2, right_hip -0.2, left_hand 0.8,
right_hand -0.8, and other joints lie right. With the pairs crossed the image of left_hip's partner, right_hand, is at
0.8: 6 spreads away. All four are wrong, each is near the image of another one, and the right pairs come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.errors.words import listed
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.joints import by_joint, has_coordinates
from chiralize.verification.evidence.neighbours import Neighbour, changed_everywhere
from chiralize.verification.evidence.records import PAIRED
from chiralize.verification.evidence.skeleton_changes import MOST_CROSSED_PAIRS

_APART, _AT_HOME = 1.0, 0.5
"""So many spreads a joint is from the image of its partner, where that is wrong; and no more from that of its own."""
_MOST = 0.5
"""The share of all joints that may have another partner: else the order of the joints is another one, or the side."""
_NAMED = 4
_GAIN, _MOST_BY_GAIN = 0.3, 12
"""What two crossed pairs together lie nearer by, in spreads, to be tried first; and how many of them."""
_Pair = tuple[int, int]


def with_pairs_of_inputs(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[Neighbour]:
    """The specification with the pairs that the means of one input tell, where these are others than T has."""
    for where, body, means, spreads in _bodies(resolved, calls):
        partners = _other_partners(means, spreads, body)
        if partners:
            names, pairs = dict[str, str](), list[str]()
            for one, other in partners.items():
                names[body.joints[one]] = body.joints[other]
                if one <= other:
                    pairs.append(f"{body.joints[one]} {PAIRED} {body.joints[other]}")
            words = f"{listed(pairs, _NAMED)} (as the means of {where} tell)"
            yield Neighbour(words, changed_everywhere(resolved, partial(_paired, names=names)))


def with_crossed_pairs(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[Neighbour]:
    """Of a body of many pairs, two that are crossed: those that lie better so, then every one and its nearest."""
    for _, body, means, spreads in _bodies(resolved, calls):
        if len(body.pairs) <= MOST_CROSSED_PAIRS:
            continue
        joints = body.joints
        for (a, b), (c, d) in _likely_crossed(means, spreads, body):
            names = {joints[a]: joints[d], joints[d]: joints[a], joints[c]: joints[b], joints[b]: joints[c]}
            words = f"{joints[a]} {PAIRED} {joints[d]} and {joints[c]} {PAIRED} {joints[b]}"
            yield Neighbour(words, changed_everywhere(resolved, partial(_paired, names=names)))


def _bodies(
    resolved: ResolvedSpec, calls: Sequence[Call]
) -> Iterator[tuple[str, Skeleton, torch.Tensor, torch.Tensor]]:
    """Every input of joints in space that T mirrors at 0: its name, its body, means and spreads "joint coordinate"."""
    for tensor in resolved.input_tensors:
        if tensor.pose is None or not has_coordinates(tensor) or tensor.entry.reflect:
            continue
        poses = torch.cat([by_joint(tensor, tensors(call)[tensor.index]).detach().cpu().double() for call in calls])
        yield tensor.where, tensor.pose.body, poses.mean(0), poses.std(0)


def _likely_crossed(means: torch.Tensor, spreads: torch.Tensor, body: Skeleton) -> list[tuple[_Pair, _Pair]]:
    """Two pairs that may be crossed, the likeliest first: by what their means gain, then by how near they are."""
    left, right = torch.tensor(body.pairs).T
    images = torch.from_numpy(body.sign_table()).double() * means
    # off[i, k]: how far the left joint of pair i is from the image of the right joint of pair k, in its spreads, in the
    # worst coordinate. A joint that hardly moves counts with a quarter of the usual spread.
    least = float(spreads[spreads > 0].median()) / 4 if bool((spreads > 0).any()) else 1.0
    off = ((means[left][:, None] - images[right][None]).abs() / spreads[left].clamp_min(least)[:, None]).amax(2)
    gains = off.diagonal()[:, None] + off.diagonal()[None] - off - off.T  # of crossing pairs i and k, "pair pair"
    apart = torch.cdist(means[left], means[left]) + torch.cdist(means[right], means[right])
    apart.fill_diagonal_(torch.inf)
    first, second = torch.triu_indices(len(left), len(left), 1)
    by_gain = (-gains[first, second]).argsort()
    chosen = dict[tuple[int, int], None]()  # a dict keeps the order, and each once
    for number in by_gain[:_MOST_BY_GAIN].tolist():
        if float(gains[first[number], second[number]]) > _GAIN:
            chosen[int(first[number]), int(second[number])] = None
    for one in apart.amin(1).argsort().tolist():
        other = int(apart[one].argmin())
        chosen[min(one, other), max(one, other)] = None
    return [(body.pairs[one], body.pairs[other]) for one, other in chosen]


def _other_partners(means: torch.Tensor, spreads: torch.Tensor, body: Skeleton) -> Mapping[int, int]:
    """The partners of joints that are far from the image of theirs, both ways round; none where one has no other."""
    signs = torch.from_numpy(body.sign_table()).double()
    least = spreads[spreads > 0].median() / 4 if bool((spreads > 0).any()) else torch.ones(())
    spreads, images = spreads.clamp_min(float(least)), signs * means
    partner = torch.tensor(body.joint_action().partner)
    # The joints that are more than a spread away from the image of their partner, in some coordinate.
    wrong = ((means - images[partner]).abs() / spreads).amax(1) > _APART
    if not 0 < int(wrong.sum()) <= _MOST * len(means):
        return {}
    # Among these, whose image is each of them near? "wrong wrong"
    among = wrong.nonzero().flatten()
    errors = ((means[among][:, None] - images[among][None]).abs() / spreads[among][:, None]).amax(2)
    nearest = errors.argmin(1)
    chosen = dict[int, int]()
    for number, joint in enumerate(map(int, among)):
        if float(errors[number].min()) <= _AT_HOME:  # others may be in the middle, and on one side for all that
            chosen[joint] = int(among[nearest[number]])
    mutual = {joint: other for joint, other in chosen.items() if chosen.get(other) == joint}
    left = {int(joint) for joint in among} - mutual.keys()
    # A partner that loses its own to another would be in the middle.
    return {} if any(int(partner[joint]) in mutual for joint in left) else mutual


def _paired(body: Skeleton, names: Mapping[str, str]) -> Skeleton:
    """The skeleton with these partners, where it has all of these joints; a joint that is its own is in the middle."""
    if not set(names) <= set(body.joints):
        return body
    pairs = list[tuple[int, int]]()
    for left, right in body.pairs:
        if not {body.joints[left], body.joints[right]} & set(names):
            pairs.append((left, right))
    for one, other in names.items():
        if one < other:
            pairs.append((body.index(one), body.index(other)))
    return replace(body, pairs=tuple(pairs))

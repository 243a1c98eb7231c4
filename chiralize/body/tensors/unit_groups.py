"""Which entries of a tensor have one unit, by its specification: speeds beside angles have two.

An observation of a gyro and two joint angles has the groups (0, 0, 0, 1, 1). Entries of a group are measured by a
spread in common, so that rad/s do not drown in metres.
"""

from __future__ import annotations

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields import joined_unit_groups
from chiralize.body.tensors.resolved import ResolvedTensor


def unit_groups(tensor: ResolvedTensor, skeleton: Skeleton) -> tuple[int, ...]:
    """A number for every entry along `name_axis`, which those share that have one unit; () where all have one.

    Partners always have one.  skeleton: that of the specification.
    """
    if tensor.entry.fields is None or tensor.name_axis is None or tensor.representation is None:
        return ()
    groups = joined_unit_groups(tensor.entry.fields, tensor.entry.body(skeleton))
    # T carries an entry's values to its partner: two groups that it exchanges are one.
    partners: list[int] = tensor.representation.axes[tensor.name_axis].action.partner.tolist()
    for entry, partner in enumerate(partners):
        if groups[entry] != groups[partner]:
            _join(groups, groups[entry], groups[partner])
    return tuple(groups) if len(set(groups)) > 1 else ()


def _join(groups: list[int], one: int, other: int) -> None:
    """Make two groups one, in place."""
    for entry, group in enumerate(groups):
        if group == other:
            groups[entry] = one

"""Where entries stand in the simulator's own arrays: a mirror that is right by names may be wrong by places.

A network's action is a row of numbers, and the simulator takes the first for its first actuator, whatever the
specification calls it.  So T of the row, place by place, is held against T of the simulator's controls, and the same of
joint positions and velocities.

A specification lists the actions as hip_1, hip_2, ankle_1, ankle_2, with 1 and 2 partners: T exchanges entries 0 and 1.
The model has its actuators in the order hip_1, ankle_1, hip_2, ankle_2. If the action is handed to it as it is, the
number in place 0 drives hip_1, whose image is the number in place 2: right by names, wrong by places.

`observation` calls `placing_of` with all blocks whose seats are known. This is a verdict only where the specification's
joint positions and velocities stand in the model's order; otherwise the user has to say what orders them (`--by-name`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from chiralize.body.robots.describing import Entry
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.observing import CONTROLS, drivers_of
from chiralize.body.robots.robot import Robot
from chiralize.errors.words import listed
from chiralize.symmetry.involution import SignedPermutation


@dataclass(frozen=True, eq=False)
class Seated:
    """A block of which every number has a seat in one of the simulator's arrays.

    words: which array.  places, names: of its entries in the tensor.  action: T on them, as the specification says.
    seats: where they stand in the array.
    """

    tensor: str
    title: str
    words: str
    places: tuple[int, ...]
    names: tuple[str, ...]
    action: SignedPermutation
    seats: tuple[int, ...]


@dataclass(frozen=True)
class Misplaced:
    """An entry that T takes elsewhere than the simulator does with the number in this place.  right: in words."""

    tensor: str
    position: int
    name: str
    right: str


@dataclass(frozen=True)
class Placing:
    """wrong: entries.  by_name: arrays, in words, that are right by names and not by places.

    Where joints stand as in the model, entries are the simulator's own, and an action in another order is wrong.  Where
    they do not, something puts them in order, and nobody but the user knows what.
    """

    wrong: tuple[Misplaced, ...]
    by_name: tuple[str, ...]


@dataclass(frozen=True)
class _Seat:
    """An entry.  position: in the tensor.  seat: in the simulator's array, by its name.  partner: the position in the
    tensor that the specification's T takes it to, with `sign`.
    """

    position: int
    seat: int
    name: str
    partner: int
    sign: int


def joints_seats(robot: Robot, words: str, entries: Sequence[Entry]) -> tuple[int, ...]:
    """The seats of joints: of controls their actuators, else their places in qvel, also for positions.

    words: what the block reads, as `joints_reader` says it.  Every entry has to have an actuator where controls are
    meant, as that reader asks for.
    """
    if words == CONTROLS:
        driver = drivers_of(robot)
        return tuple(driver[entry.joint] for entry in entries)
    return tuple(robot.joints[entry.joint].velocity + entry.component for entry in entries)


def placing_of(mirror: RobotMirror, blocks: Sequence[Seated]) -> Placing:
    """Compare T on every array of a specification, place by place, with T on the simulator's."""
    # Arrays of positions and velocities ("states") are counted apart from controls, which are judged by them.
    states_seen, states_right = 0, 0
    misplaced: list[tuple[Sequence[Seated], list[Misplaced]]] = []
    for group in _arrays(blocks):
        wrong = _misplaced(mirror, group)
        if group[0].words != CONTROLS:
            states_seen, states_right = states_seen + 1, states_right + (not wrong)
        if wrong:
            misplaced.append((group, wrong))
    # States in the model's order are evidence that nothing reorders the action either.
    is_own_order = 0 < states_seen == states_right
    if is_own_order:
        return Placing(tuple(entry for _, wrong in misplaced for entry in wrong), ())
    return Placing((), _in_words(mirror, [group for group, _ in misplaced]))


def _arrays(blocks: Sequence[Seated]) -> list[list[Seated]]:
    """The blocks of one tensor that are of one array, together; each by itself where a number comes twice (frames)."""
    together: dict[tuple[str, str], list[Seated]] = defaultdict(list)
    for block in blocks:
        together[block.tensor, block.words].append(block)
    arrays: list[list[Seated]] = []
    for group in together.values():
        seats = _all_seats(group)
        # Legs and arms in two blocks are one array; two frames of all joints are two.
        if len(set(seats)) == len(seats):
            arrays.append(group)
        else:
            arrays += [[block] for block in group]
    return arrays


def _all_seats(group: Sequence[Seated]) -> list[int]:
    """The seats of all blocks, one block after the other."""
    seats: list[int] = []
    for block in group:
        seats += block.seats
    return seats


def _seats(group: Sequence[Seated]) -> list[_Seat]:
    """The entries of an array in the order of the tensor."""
    entries = []
    for block in group:
        for at, (position, seat, name) in enumerate(zip(block.places, block.seats, block.names, strict=True)):
            partner = block.places[int(block.action.partner[at])]
            entries.append(_Seat(position, seat, name, partner, int(block.action.sign[at])))
    return sorted(entries, key=lambda entry: entry.position)


def _misplaced(mirror: RobotMirror, group: Sequence[Seated]) -> list[Misplaced]:
    """The entries of an array of which T is wrong once the simulator takes them one after the other."""
    truth = mirror.ctrl if group[0].words == CONTROLS else mirror.qvel
    entries = _seats(group)
    # The array may be a part of the simulator's, such as the legs alone. Its numbers fill the seats that are named, but
    # in the order of the tensor: the k-th entry sits in the k-th of these seats, whatever its name.
    taken = sorted(entry.seat for entry in entries)
    position_of = {seat: entry.position for seat, entry in zip(taken, entries, strict=True)}
    wrong = []
    for seat, entry in zip(taken, entries, strict=True):
        # What the simulator does with the number in this place, against what the specification says of it.
        image, sign = position_of.get(int(truth.partner[seat])), int(truth.sign[seat])
        if (image, sign) != (entry.partner, entry.sign):
            word = "" if sign > 0 else "negated "
            where = "not in this block" if image is None else f"{word}entry {image}"
            title = _titles(mirror.robot, group[0].words)[seat]
            right = f"the model has {title} in this place, whose image is {where}"
            wrong.append(Misplaced(group[0].tensor, entry.position, entry.name, right))
    return wrong


def _in_words(mirror: RobotMirror, groups: Sequence[Sequence[Seated]]) -> tuple[str, ...]:
    """`output 0: action: the model's order is hip_4, ankle_4`; frames of a history share a line.

    The order is that of the seats which the block names.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        titles = _titles(mirror.robot, group[0].words)
        order = ", ".join(titles[seat] for seat in sorted(_all_seats(group)))
        alike.setdefault((group[0].tensor, order), []).extend(block.title for block in group)
    words: list[str] = []
    for (tensor, order), blocks in alike.items():
        words.append(f"{tensor}: {listed(list(dict.fromkeys(blocks)), 4)}: the model's order is {order}")
    return tuple(words)


def _titles(robot: Robot, words: str) -> dict[int, str]:
    """The name of every seat of an array: its joint, or an actuator that drives no joint.

    A joint of several velocities has as many seats: each is overwritten by the next joint from its first seat on.
    """
    if words == CONTROLS:
        titles = {}
        for index, actuator in enumerate(robot.actuators):
            titles[index] = actuator.name if actuator.joint is None else robot.joints[actuator.joint].name
        return titles
    titles = {}
    for joint in sorted(robot.joints, key=lambda joint: joint.velocity):
        for seat in range(joint.velocity, robot.velocities):
            titles[seat] = joint.name
    return titles

"""A specification's observation against the robot: T of what is observed has to be what is observed of T.

For a state s, a block r(s) and the block's T' by the specification it has to be T' r(s) = r(T s). `checking` calls
`observation_of` once for all tensors of a specification. A block is computed by a reader: from the state (`observing`),
by the simulator (`sensing`), or not at all, and then it is listed as unchecked. Example: `{vector: base_ang_vel}` under
y -> -y. r(s) = (1, 2, 3), the specification's T' gives (1, -2, 3), but an angular velocity is a pseudo-vector and
r(T s) = (-1, 2, -3). All three entries are wrong, and the report says `it has to be negated` of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.describing import Entry
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.observing import (
    Moment,
    Reader,
    base_reader,
    joints_reader,
    mirrored,
    position_reader,
    random_moments,
)
from chiralize.body.robots.robot import Array
from chiralize.body.robots.seats import Seated, joints_seats, placing_of
from chiralize.body.robots.sensing import Scene, array_reader, bodies_named, body_reader, generalized_force, is_array
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.claims import with_sizes
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import Field
from chiralize.body.tensors.fields.history import History
from chiralize.body.tensors.fields.items import Items
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.plain import Measured, Scalar
from chiralize.body.tensors.fields.quantities import Quantity
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.body.tensors.resolution import resolve
from chiralize.errors.words import listed
from chiralize.symmetry.involution import SignedPermutation

_MOMENTS = 4
"""How many states blocks are read of; more are needed for no block, since their numbers are random."""
_SAME = 1e-9
"""By how much numbers that are read off a state may differ from the image's: roundings."""
_FELT = 1e-4
"""Share of an entry's largest value by which its image has to differ to be wrong, where the simulator computes it."""
_SILENT = 1e-9
"""Share of a block's largest value below which an entry stayed 0, so that nothing is known of its sign."""
_NAMED = 4
"""How many silent entries are named in a line."""
_MANY = 5
"""Blocks of more plain numbers may be one of MuJoCo's arrays of bodies; of fewer, the base's."""
Places = npt.NDArray[np.int64]
Sampled = Callable[[], tuple[Array, Array]]
"""A block's numbers in some states and in their images, "state entry"."""


@dataclass(frozen=True)
class WrongEntry:
    """An entry of an observation that the specification mirrors wrongly.  right: what would be right, in words."""

    tensor: str
    index: int
    label: str
    right: str

    def __str__(self) -> str:
        """`input 0, entry 3 (orientation[2]): it is negated`."""
        return f"{self.tensor}, entry {self.index} ({self.label}): {self.right}"


@dataclass(frozen=True)
class Observed:
    """wrong: entries.  checked, unchecked: blocks, in words.  by_name: as in `Placing`."""

    wrong: tuple[WrongEntry, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    by_name: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Read:
    """How a block is computed.  words: what is read.

    is_simulated: whether the simulator computes it from forces, so that roundings are larger.
    seats: where the numbers stand in the simulator's own array, as `joints_seats` has it; none where that is not known.
    """

    sampled: Sampled
    words: str
    is_simulated: bool = False
    seats: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class _Block:
    """Entries of one tensor that belong together.

    places: their positions.  action: T on them, as the specification says.  read: None where nothing computes them.
    """

    tensor: str
    places: Places
    names: tuple[str, ...]
    title: str
    action: SignedPermutation
    read: _Read | None


@dataclass(frozen=True, eq=False)
class _Witness:
    """The states and their images from which blocks are computed.

    entries_named: the robot's numbers that the joints of a skeleton name. by_name: whether places are no evidence.
    """

    mirror: RobotMirror
    moments: Sequence[Moment]
    images: Sequence[Moment]
    scene: Scene | None
    entries_named: Callable[[Skeleton], list[Entry]]
    by_name: bool

    def sampled(self, reader: Reader) -> Sampled:
        """The numbers of a reader of states."""

        return lambda: (_read_of_all(reader, self.moments), _read_of_all(reader, self.images))


def _read_of_all(reader: Reader, moments: Sequence[Moment]) -> Array:
    """The numbers that a reader takes of every moment, "moment entry"."""
    return np.stack([reader(moment) for moment in moments])


def observation_of(
    spec: ConversionSpec,
    mirror: RobotMirror,
    entries_named: Callable[[Skeleton], list[Entry]],
    scene: Scene | None = None,
    by_name: bool = False,
) -> Observed:
    """Check every block that can be computed from a robot's state.

    entries_named: the robot's numbers that the joints of a skeleton name.  scene: for what is felt by bodies.  by_name:
    places say nothing.
    """
    wrong: list[WrongEntry] = []
    checked: list[str] = []
    unchecked: list[str] = []
    seated: list[Seated] = []
    moments = random_moments(mirror, _MOMENTS)
    witness = _Witness(mirror, moments, [mirrored(mirror, moment) for moment in moments], scene, entries_named, by_name)
    for io, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for number, entry in enumerate(tensors or ()):
            for block in _blocks(f"{io} {number}", io, entry, spec, witness):
                title = f"{block.tensor}: {block.title}"
                if block.read is None:
                    unchecked.append(title)
                    continue
                values, right = block.read.sampled()  # r(s) and r(T s), "state entry"
                checked.append(f"{title} ({block.read.words})")
                wrong += _wrong_entries(block, values, right)
                unchecked += _silent(block, title, values, right)
                # The same numbers may be right by their names and stand at other places than the simulator has them.
                if block.read.seats and not by_name:
                    seated.append(_seated(block, block.read))
    # Places are evidence only of tensors whose entries are right by their names.
    tensors = {entry.tensor for entry in wrong}
    placing = placing_of(mirror, [block for block in seated if block.tensor not in tensors])
    wrong += [WrongEntry(entry.tensor, entry.position, entry.name, entry.right) for entry in placing.wrong]
    return Observed(tuple(wrong), tuple(dict.fromkeys(checked)), tuple(dict.fromkeys(unchecked)), placing.by_name)


def _seated(block: _Block, read: _Read) -> Seated:
    """The block with the seats of its numbers in the simulator's arrays."""
    places = tuple(block.places.tolist())
    return Seated(block.tensor, block.title, read.words, places, block.names, block.action, read.seats)


def _wrong_entries(block: _Block, values: Array, right: Array) -> list[WrongEntry]:
    """The entries at which T' r(s) differs from r(T s) in some state.  values, right: the two, "state entry"."""
    same = _tolerance(block, values, right)
    said = block.action.act(values, -1)  # T' r(s)
    faults = np.flatnonzero(np.abs(said - right).max(axis=0) > same)
    return [
        WrongEntry(block.tensor, int(block.places[at]), block.names[at], _right(block, at, values, right[:, at], same))
        for at in faults.tolist()
    ]


def _tolerance(block: _Block, values: Array, right: Array) -> Array:
    """How far every entry may be off, "entry".

    What the simulator computes is a share of the entry's own largest value, since forces are large and the simulator's
    roundings are, too; and a little of the block's, for entries that stay near 0.
    """
    if block.read is None or not block.read.is_simulated:
        return np.full(right.shape[1], _SAME)
    return _FELT * np.abs(right).max(axis=0) + _SILENT * max(1.0, float(np.abs(values).max()))


def _silent(block: _Block, title: str, values: Array, right: Array) -> list[str]:
    """The entries of which nothing is known, since they are 0 in all states and images, in words."""
    if block.read is None or not block.read.is_simulated:
        return []
    largest = np.maximum(np.abs(values), np.abs(right)).max(axis=0)
    silent = [block.names[at] for at in np.flatnonzero(largest <= _SILENT * max(1.0, float(largest.max())))]
    if not silent:
        return []
    return [f"{title}: {listed(silent, _NAMED)} (0 in all states)"]


def _right(block: _Block, at: int, values: Array, right: Array, same: Array) -> str:
    """What the entry has to be in the image, in words: the one entry of the block that r(T s) equals, up to sign.

    right: r(T s) at the entry, "state".  same: "entry".
    """
    for sign, word in ((1, ""), (-1, "negated ")):
        # Entries that r(T s) equals in every state; kept before negated, and the entry itself before others.
        alike = np.flatnonzero(np.abs(sign * values - right[:, None]).max(axis=0) <= same[at]).tolist()
        if at in alike:
            if sign > 0:
                return "it has to be kept"
            return "it has to be negated"
        if alike:
            return f"its image is {word}{block.names[alike[0]]}"
    return "its image is no single entry of the block"


# ---- blocks ---------------------------------------------------------------------------------------------------
def _blocks(tensor: str, io: str, entry: TensorEntry, spec: ConversionSpec, witness: _Witness) -> Iterator[_Block]:
    """The blocks of a tensor; one that is described otherwise is one block that cannot be checked.

    Three kinds of tensors: a row of joints (the action of a policy, one block), a list of fields (their leaves), and
    anything else.
    """
    body = entry.body(spec.skeleton)
    # A row of one number a joint, as robots' actions are; a tensor without a layout is taken for one.
    if entry.kind == "pose" and len(body.dims) == 1 and "j" in (entry.layout or "j"):
        title = entry.name or ("action" if io == "output" else "joints")
        read = _read_of_joints(title, witness.entries_named(body), witness)
        yield _Block(tensor, np.arange(len(body.joints)), body.joints, title, body.merged_action(), read)
        return
    if entry.kind != "fields":
        yield _unknown_block(tensor, entry.name or entry.kind)
        return
    yield from _blocks_of_fields(tensor, entry, spec, witness)


def _blocks_of_fields(tensor: str, entry: TensorEntry, spec: ConversionSpec, witness: _Witness) -> Iterator[_Block]:
    """The leaves of a list of fields, each with T on it; what is not claimed, or mixed with other leaves, without T."""
    body = entry.body(spec.skeleton)
    # The tensor by itself, as a row of all its fields, gives T and the labels of its entries. Numbers stand in for what
    # nothing is claimed of, which has no T, so that the others keep their places.
    fields = with_sizes(entry.fields or ())
    widths = [block.size(body) for block in fields]
    row = replace(entry, layout=None, fields=fields)
    resolved = resolve(ConversionSpec(spec.name, spec.skeleton, (row,), ()), [(1, sum(widths))], [])
    representation, names, start = resolved.inputs[0], resolved.input_tensors[0].names, 0
    for stated, block, width in zip(entry.fields or (), fields, widths, strict=True):
        places = np.arange(start, start + width)
        start += width
        if isinstance(stated, Unclaimed):
            yield _unknown_block(tensor, stated.name)
            continue
        for leaf, inside in _leaves(block, places, body):
            # None where T takes entries out of the leaf: it cannot be compared by itself.
            action = None if representation is None else representation.axes[-1].action.restrict(inside)
            labels = tuple(names[at] for at in inside)
            title = ".".join(filter(None, [leaf.name, *(part.name for part in leaf.parts)])) or block.name or leaf.kind
            if action is None:
                yield _unknown_block(tensor, title)
            else:
                yield _Block(tensor, inside, labels, title, action, _read(leaf, len(inside), body, witness))


def _unknown_block(tensor: str, title: str) -> _Block:
    """A block that nothing is compared of: it is listed as unchecked."""
    return _Block(tensor, np.zeros(0, np.int64), (), title, SignedPermutation.identity(0), None)


def _leaves(block: Field, places: Places, body: Skeleton) -> Iterator[tuple[Field, Places]]:
    """What a block is built of, down to blocks that are computed as one, and where their entries stand.

    Of things that swap, every block of each is one, with all numbers of the first thing first.
    Two frames of `{joints: q}` (a, b) and `{scalar: 1}` (s) at places 0 to 5 are four leaves. Frame by frame,
    a b s a b s, they are 01, 2, 34, 5; term by term, a b a b s s, they are 01, 23, 4, 5.
    """
    if isinstance(block, History):
        if block.major == "terms":
            # All frames of one term stand together.
            parts = _cut(block.of, places, body, block.frames)
            framed = [(part, frame) for part, inside in parts for frame in inside.reshape(block.frames, -1)]
        else:
            framed = [pair for frame in places.reshape(block.frames, -1) for pair in _cut(block.of, frame, body, 1)]
        for part, inside in framed:
            yield from _leaves(part, inside, body)
    elif isinstance(block, Items):
        # table: "thing number", where each number of each thing stands.
        if block.major == "items":
            table = places.reshape(len(block.items), -1)
        else:
            table = places.reshape(-1, len(block.items)).T
        start = 0
        for part in block.each:
            width = part.size(body)
            yield replace(block, each=(part,), major="items"), table[:, start : start + width].reshape(-1)
            start += width
    else:
        yield block, places


def _cut(parts: Sequence[Field], places: Places, body: Skeleton, times: int) -> list[tuple[Field, Places]]:
    """Blocks one after the other, each taking its size so many times, with their places."""
    ends = np.cumsum([times * part.size(body) for part in parts])
    return list(zip(parts, np.split(places, ends[:-1]), strict=True))


def _read(block: Field, width: int, body: Skeleton, witness: _Witness) -> _Read | None:
    """How a block is computed; None where nothing is known that computes it.

    width: of the block.  The kind of the block and its name decide together, from the most special case on.
    """
    robot = witness.mirror.robot
    if isinstance(block, Items):
        return _read_of_bodies(block, witness)
    read: tuple[Reader, str] | None = None
    if isinstance(block, Joints) and not block.is_plain:
        entries = witness.entries_named(block.body_of(body))
        scene = witness.scene
        # A force on joints is neither a position nor a velocity nor a control: the simulator computes it.
        if "qfrc" in block.name.lower() and scene is not None:
            columns = [robot.joints[entry.joint].velocity + entry.component for entry in entries]
            force = generalized_force(columns)
            words = f"forces of actuators on joints, {scene.conditions}"
            return _Read(lambda: scene.both(force), words, True, joints_seats(robot, words, entries))
        return _read_of_joints(block.name, entries, witness)
    if isinstance(block, Measured) and block.kind == "vector" and "pos" in block.name.lower():
        read = position_reader(robot, block.name, block.quantity.dims)
    elif block.kind in ("signs", "scalar") and witness.scene is not None and _MANY < width:
        # `{signs: [...], name: cfrc_ext}` of all bodies in one block.
        felt, scene = array_reader(witness.scene, block.name, width), witness.scene
        if felt is not None:
            return _Read(lambda: scene.both(felt[0]), f"{felt[1]}, {scene.conditions}", True)
    elif block.kind in ("vector", "axial", "signs", "scalar"):
        read = base_reader(robot, block.kind, block.name, width)
    elif isinstance(block, Measured) and (block.kind == "quaternion" or block.quantity.order == "rpy"):
        read = base_reader(robot, block.kind, f"{block.name} {block.kind} {block.quantity.order}", width)
    if read is None:
        return None
    return _Read(witness.sampled(read[0]), read[1])


def _read_of_joints(name: str, entries: Sequence[Entry], witness: _Witness) -> _Read | None:
    """How a block of joints is computed: positions, velocities, controls."""
    robot = witness.mirror.robot
    read = joints_reader(robot, name, entries)
    if read is None:
        return None
    return _Read(witness.sampled(read[0]), read[1], seats=joints_seats(robot, read[1], entries))


def _read_of_bodies(block: Items, witness: _Witness) -> _Read | None:
    """How a block of things is computed: bodies, or feet that are bodies."""
    (part,) = block.each  # `_leaves` has cut things into one block of each
    scene = witness.scene
    bodies = None if scene is None else bodies_named(scene, block.items)
    quantity = part.quantity if isinstance(part, Measured) else Quantity("scalar")
    is_readable = isinstance(part, Measured) or (isinstance(part, Scalar) and part.count == 1)
    if scene is None or bodies is None or not is_readable:
        return None
    title = f"{block.name} {part.name}"
    if is_array(title) and not witness.by_name:
        bodies = sorted(bodies)  # whatever they are called: the array has them in the model's order
    read = body_reader(quantity, title, bodies)
    if read is None:
        return None
    reader, words = read
    return _Read(lambda: scene.both(reader), f"{words}, {scene.conditions}", True)

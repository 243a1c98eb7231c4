"""Fields that are something else than the specification says: the mirror that fits is named, wherever they stand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.fields import all_lookalikes, exchanged_fields, joined_action, single_blocks, with_block
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act

HEAD = """
joints: [l_hip, l_knee, r_hip, r_knee]
pairs: [[l_hip, r_hip], [l_knee, r_knee]]
dims: [q]
negate: []
lateral: {lateral}
"""
RIGHT = ("{joints: q}", "{axial: turn}", "{feet: [l, r], kind: scalar, name: contact}")
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...], str]] = {
    # what is read and answered, in truth and as written; what is named
    "contacts kept": (
        RIGHT, RIGHT, ("{joints: q}", "{axial: turn}", "{scalar: 2, name: c}"),
        ("{joints: q}", "{axial: turn}", "{scalar: 2, name: d}"), "both of c swapped of input 0 and output 0",
    ),
    "heels and toes, side by side": (
        ("{joints: q}",), ("{feet: [l, r], each: [{scalar: 2}], name: contact}",),
        ("{joints: q}",), ("{scalar: 4, name: c}",), "the halves of c swapped of output 0",
    ),
    "heels and toes in turn": (
        ("{joints: q}",), ("{feet: [l, r], each: [{scalar: 2}], name: contact, major: entries}",),
        ("{joints: q}",), ("{scalar: 4, name: c}",), "every two neighbours of c swapped of output 0",
    ),
    "legs that are numbered round the body": (
        ("{joints: q}",), ("{items: [a, b, c, d], each: [{scalar: 1}], swap: [[a, d], [b, c]], name: contact}",),
        ("{joints: q}",), ("{scalar: 4, name: c}",), "c in reverse of output 0",
    ),
    "things that swap otherwise": (
        ("{items: [a, b, c, d], each: [{scalar: 2}], swap: [[a, c], [b, d]], name: paws}",), ("{joints: q}",),
        ("{items: [a, b, c, d], each: [{scalar: 2}], swap: [[a, b], [c, d]], name: paws}",), ("{joints: q}",),
        "the pairs a with c, b with d in paws of input 0",
    ),
    "a clock for every leg": (
        ("{joints: q}",), ("{legs: [l, r], each: [{phase: sin_cos, shift: none}], name: clock}",),
        ("{joints: q}",), ("{phase: sin_cos, shift: half, name: one}", "{phase: sin_cos, shift: half, name: two}"),
        "one and two swapped with `shift: none` of output 0",
    ),
    "a yaw rate in a vector": (
        ("{joints: q}", "{axial: turn}"), ("{signs: [1, -1, -1], name: root}",),
        ("{joints: q}", "{axial: turn}"), ("{vector: root}",), "the other sign of root.z of output 0",
    ),
    "a sign within histories": (
        ("{history: 3, of: [{joints: q}, {signs: [1, -1], name: way}]}",),
        ("{history: 2, of: [{joints: q}, {signs: [1, -1], name: way}]}",),
        ("{history: 3, of: [{joints: q}, {scalar: 2, name: way}]}",),
        ("{history: 2, of: [{joints: q}, {scalar: 2, name: way}]}",),
        "the other sign of way[1] of input 0 and output 0",
    ),
    "a difference of two sides in many bands": (
        ("{joints: q}", f"{{signs: {[-1] * 14}, name: level}}"), ("{joints: q}",),
        ("{joints: q}", "{scalar: 14, name: level}"), ("{joints: q}",), "the other sign of all of level of input 0",
    ),
    "blocks in another order": (
        ("{joints: q}", "{vector: pos}", "{rotation: 6d_by_row, name: ori}", "{axial: turn}"), ("{joints: q}",),
        ("{joints: q}", "{rotation: 6d_by_row, name: ori}", "{vector: pos}", "{axial: turn}"), ("{joints: q}",),
        "pos before ori of input 0",
    ),
    "blocks of a history in another order": (
        ("{history: 2, of: [{vector: pos}, {axial: turn}]}",), ("{joints: q}",),
        ("{history: 2, of: [{axial: turn}, {vector: pos}]}",), ("{joints: q}",), "pos before turn of input 0",
    ),
}  # fmt: skip


def spec(read: tuple[str, ...], answered: tuple[str, ...], lateral: str = "y") -> str:
    head = HEAD.format(lateral=lateral)
    return f"{head}inputs: [{{fields: [{', '.join(read)}]}}]\noutputs: [{{fields: [{', '.join(answered)}]}}]\n"


class Symmetric(nn.Module):
    """(t(x) + T t(T x)) / 2 under the mirror of a specification."""

    def __init__(self, text: str, sizes: tuple[int, int]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(sizes[0], 24), nn.Tanh(), nn.Linear(24, sizes[1]))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        resolved = resolve(parse_spec(text), [(1, sizes[0])], [(1, sizes[1])])
        (on_inputs,), (on_outputs,) = resolved.inputs, resolved.outputs
        assert on_inputs is not None and on_outputs is not None
        self.on_inputs, self.on_outputs = on_inputs, on_outputs

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x) + act(self.net(act(x, self.on_inputs)), self.on_outputs)) / 2


def size_of(fields: tuple[str, ...]) -> int:
    body = parse_spec(HEAD.format(lateral="y")).skeleton
    entries = parse_spec(spec(fields, fields)).inputs
    assert entries is not None and entries[0].fields is not None
    return sum(block.size(body) for block in entries[0].fields)


def refusal(right: str, wrong: str, sizes: tuple[int, int]) -> str:
    x = torch.rand(200, sizes[0], generator=torch.Generator().manual_seed(1)) ** 3
    x = x * torch.linspace(0.5, 2, sizes[0]) - 0.2
    net = Symmetric(right, sizes)
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(net, parse_spec(wrong), (x[:2],), calibration=x, method="match")
    return str(caught.value)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("case", CASES)
def test_what_the_fields_are_is_named(case: str) -> None:
    read, answered, read_wrongly, answered_wrongly, name = CASES[case]
    sizes = size_of(read), size_of(answered)
    message = refusal(spec(read, answered), spec(read_wrongly, answered_wrongly), sizes)
    assert message.count("another mirror fits") == 1 and f"with {name}, " in message


def test_another_lateral_axis_of_vectors_is_named() -> None:
    fields = "{joints: q}", "{vector: gravity}", "{axial: turn}"
    message = refusal(spec(fields, ("{joints: a}",), "x"), spec(fields, ("{joints: a}",), "y"), (10, 4))
    assert "with x as the lateral axis, " in message


def test_blocks_are_exchanged_within_others_and_keep_their_names() -> None:
    text = spec(("{history: 2, of: [{scalar: 2, name: c}, {vector: v}, {vector: w}]}", "{scalar: [a, b]}"), RIGHT)
    entries = parse_spec(text).inputs
    assert entries is not None and entries[0].fields is not None
    fields, body = entries[0].fields, Skeleton("body", ("l", "r"), ((0, 1),), ("q",), (), (), "y")
    words = [name for name, _ in exchanged_fields(fields)]
    assert "both of c swapped" in words and "v and w swapped" in words
    assert not any("swapped" in name for name in words if "a" in name.split())  # names are quantities of their own
    for _, others in exchanged_fields(fields):
        assert sum(block.size(body) for block in others) == sum(block.size(body) for block in fields)
        assert joined_action(others, body).size == joined_action(fields, body).size
    assert [path for path, _ in single_blocks(fields)] == [(0, 0), (0, 1), (0, 2), (1,)]
    (_, other), *_ = all_lookalikes(fields[1], body)
    changed = with_block(fields, (0, 1), other)
    assert [block.name for _, block in single_blocks(changed)] == [block.name for _, block in single_blocks(fields)]


POINTS = """
joints: [nose, l_eye, r_eye, l_lip, r_lip]
pairs: [[l_eye, r_eye], [l_lip, r_lip]]
dims: [x, y]
negate: [x]
lateral: {lateral}
inputs: [{{layout: "b j d"}}]
outputs:
  - fields: [{{euler: ypr, name: head}}]
  - layout: "b j d"
    skeleton: {{joints: [left, right], pairs: [[left, right]], dims: [yaw, pitch], negate: [yaw]}}
"""


class Gaze(nn.Module):
    """Angles of a head, and yaw and pitch of both eyes, from points of a face, whose lateral axis is y."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 7))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        self.resolved = resolve(parse_spec(POINTS.format(lateral="y")), [(1, 5, 2)], [(1, 3), (1, 2, 2)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Yaw, pitch and roll, "b 3", and those of the eyes, "b 2 2"."""
        (on_inputs,), (on_head, on_eyes) = self.resolved.inputs, self.resolved.outputs
        assert on_inputs is not None and on_head is not None and on_eyes is not None
        plain, mirrored = self.net(x.flatten(1)), self.net(act(x, on_inputs).flatten(1))
        head = (plain[:, :3] + act(mirrored[:, :3], on_head)) / 2
        eyes = [answers[:, 3:].unflatten(1, (2, 2)) for answers in (plain, mirrored)]
        return head, (eyes[0] + act(eyes[1], on_eyes)) / 2


def test_the_lateral_axis_of_angles_beside_points_is_named_alone() -> None:
    """No output has an x or y, and the eyes' yaw is negated as it should be."""
    x = torch.rand(200, 5, 2, generator=torch.Generator().manual_seed(1)) ** 3 - 0.2
    with pytest.raises(MirrorError) as caught:
        wrong = parse_spec(POINTS.format(lateral="x"))
        chiralize.chiralize(Gaze(), wrong, (x[:2],), calibration=x, method="match")
    assert caught.value.remedy.startswith("try y as the lateral axis in the specification; ")
    assert "instead of" not in str(caught.value) and "yaw" not in str(caught.value)

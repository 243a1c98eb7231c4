"""Open sizes: the program answers all of them as the network does, and whatever the network holds for other sizes than
the examples' is looked at whole, in whichever way it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import ModelRunError, UnsupportedError
from chiralize.graph.capture import read
from chiralize.graph.export import export
from chiralize.graph.open_sizes import OpenSizeError
from chiralize.infer.capture import captured as spelled
from chiralize.infer.inference import Inference
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.graph.nets import POSES, Net, captured, exported, normal, run_graph

FRAMES, LONG = 4, 64
Compute = Callable[[Any, Tensor], Tensor]


# ---- the batch and the frames ------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [1, 3])
def test_the_batch_is_open(rows: int) -> None:
    """Also where the example has one sample."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    program, findings = export(net, (torch.randn(rows, 4),), {}, [{0: "b"}])
    for count in (1, 2, 7):
        other = torch.randn(count, 4)
        assert torch.equal(program.module()(other), net(other))
    assert findings == ()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_branch_for_one_sample_is_not_lost(rows: int) -> None:
    """The program is that of the example itself, and says so."""
    net, x = Net(lambda _, x: 2 * x if x.shape[0] == 1 else x), torch.randn(rows, 4)
    program, (finding,) = export(net, (x,), {}, [{0: "b"}])
    assert torch.equal(program.module()(x), net(x)) and f"b = {rows}" in finding.facts
    with pytest.raises(Exception, match=str(rows)):
        program.module()(torch.randn(rows + 1, 4))


def test_a_batch_that_the_network_fixes_is_noted() -> None:
    net = Net(lambda s, x: s.layer(x.reshape(4, 34)), layer=nn.Linear(34, 51))
    _, (finding,) = export(net, (torch.randn(4, 17, 2),), {}, [{0: "b"}])
    assert (finding.topic, finding.level) == ("capture", "note") and "b = 4" in finding.facts


def test_frames_are_open_where_the_network_takes_any() -> None:
    net = Net(lambda s, x: s.layer(x.flatten(2).mT).mT, layer=nn.Conv1d(34, 51, 3))
    program, findings = export(net, (torch.randn(1, 9, 17, 2),), {}, POSES)
    for sizes in ((1, 4), (3, 9), (2, 31)):
        x = torch.randn(*sizes, 17, 2)
        torch.testing.assert_close(program.module()(x), net(x))
    assert findings == ()


def test_a_program_that_is_wrong_for_more_frames_is_not_taken() -> None:
    """The network answers longer clips otherwise, which an export does not see."""
    net = Net(lambda _, x: x * (2 if torch.compiler.is_exporting() or x.shape[1] < 10 else 3))
    program, (finding,) = export(net, (torch.randn(2, 9, 17, 2),), {}, POSES)
    assert "t = 9" in finding.facts and "b =" not in finding.facts
    with pytest.raises(Exception, match="9"):
        program.module()(torch.randn(2, 12, 17, 2))


def test_a_graph_takes_the_sizes_of_its_program_alone() -> None:
    program, _ = export(Net(lambda _, x: x * 2), (torch.randn(2, 4, 5),), {}, [{0: "b"}])
    with pytest.raises(ModelRunError):
        read(program, (torch.randn(2, 5, 5),), {})


# ---- tables that the examples read in part -----------------------------------------------------------------------
def planted(fill: float) -> Tensor:
    """A table of 64 frames that tells left from right in frame 40 alone."""
    table = torch.full((LONG, 5, 2), fill)
    table[40, 1, 0] = 2.0
    return table


def net_of(compute: Compute) -> nn.Module:
    parts: dict[str, Any] = {"zeros": planted(0.0), "ones": planted(1.0), "one": torch.tensor([1.0, 0.0])}
    parts |= {"rows": torch.cat([torch.zeros(40), torch.ones(24)]).long().reshape(LONG, 1)}
    weights = {"positions": nn.Parameter(torch.randn(LONG, 5, 2)), "table": nn.Embedding(LONG, 2)}
    return Net(compute, layer=nn.Linear(2, 2), **parts, **weights).eval()


SEEN: dict[str, Compute] = {
    "a sum": lambda s, x: s.layer(x).tanh() + s.zeros[: x.shape[1]],
    "a factor": lambda s, x: s.layer(x).tanh() * s.ones[: x.shape[1]],
    "the weight of inputs": lambda s, x: (x * s.ones[: x.shape[1]]).sum(1),
    "a mask": lambda s, x: torch.where(s.zeros[: x.shape[1]] > 1, x, s.layer(x)),
    "computed before and behind": lambda s, x: x + (2 * s.zeros.flip(1))[: x.shape[1]].flip(1),
    "narrow": lambda s, x: x + s.zeros.narrow(0, 0, x.shape[1]),
    "an index": lambda s, x: x + s.zeros[torch.arange(x.shape[1])],
    "index_select": lambda s, x: x + s.zeros.index_select(0, torch.arange(x.shape[1])),
    "gathered": lambda s, x: x + s.zeros.gather(0, torch.arange(x.shape[1])[:, None, None].expand(-1, 5, 2)),
    "split": lambda s, x: x + s.zeros.split([x.shape[1], LONG - x.shape[1]])[0],
    "two axes": lambda s, x: torch.einsum(
        "bsjd,st->btjd", x, s.zeros.flatten(1)[: x.shape[1], 2:3].expand(-1, x.shape[1])
    ),
    "a formula": lambda s, x: x + (torch.arange(x.shape[1]) > 40)[:, None, None] * s.one,
    "rows of another table": lambda s, x: x + s.one[s.rows[: x.shape[1]]][..., None],
}
CLOSED: dict[str, Compute] = {
    "one entry": lambda s, x: x + s.zeros[x.shape[1] - 1],
    "from the end": lambda s, x: x + s.zeros[-x.shape[1] :],
    "further on for more frames": lambda s, x: x + s.zeros[x.shape[1] - 4 : 2 * x.shape[1] - 4],
    "resized": lambda s, x: x + nn.functional.interpolate(s.zeros.flatten(1).T[None], x.shape[1])[0].T.view(-1, 5, 2),
    "a sum over it": lambda s, x: x + s.zeros[: x.shape[1]].sum(0),
    "a factor that is 0": lambda s, x: x + s.table.weight[0] * (x.shape[1] - 4),
    "a power": lambda s, x: x ** (x.shape[1] - 2),
    "rolled": lambda s, x: x.roll(x.shape[1] - 4, 2),
}
ALONE: dict[str, tuple[Compute, str, int]] = {
    "a parameter": (lambda s, x: x + s.positions[: x.shape[1]], "p_positions", 0),
    "rows of a parameter": (lambda s, x: x + s.table(torch.arange(x.shape[1]))[:, None], "arange", 0),
    "a joint": (lambda s, x: x + x[:, :, x.shape[1] - 4][:, :, None], "x", 2),
}
HARMLESS: dict[str, Compute] = {
    "a mean": lambda s, x: s.layer(x).sum(1) / x.shape[1],
    "zeros": lambda s, x: x + torch.zeros(x.shape[1], 5, 2),
    "the last frame": lambda s, x: s.layer(x)[:, -1],
    "a scale": lambda s, x: x * x.shape[1] ** -0.5,
}


@pytest.mark.parametrize("compute", SEEN.values(), ids=SEEN)
def test_tables_are_seen_whole(compute: Compute) -> None:
    """All of it stands in the graph, cut to the examples' size, and the mirror leaves the frames alone."""
    net, x = net_of(compute), torch.randn(2, FRAMES, 5, 2)
    program, findings = export(net, (x,), {}, POSES)
    graph = read(program, (x,), {})
    whole = [leaf for leaf in graph.leaves.values() if leaf.kind == "constant" and max(leaf.shape) >= LONG]
    assert findings == () and whole and all(graph.left_alone[leaf.name] for leaf in whole)
    assert all(leaf.tensor.flatten(1).double().std(0).max() > 0 for leaf in whole)  # the odd frame is among them
    torch.testing.assert_close(run_graph(graph, [x])[0], net(x))


def test_a_table_that_is_stored_whole_keeps_its_key() -> None:
    net = net_of(lambda s, x: x + s.zeros[: x.shape[1]] + s.zeros[: x.shape[1]].flip(1))
    x = torch.randn(2, FRAMES, 5, 2)
    graph = captured(net, x, axes=POSES)
    stored = [leaf for leaf in graph.leaves.values() if leaf.names == ("zeros",)]
    assert len(stored) == 1 and stored[0].stored and graph.left_alone[stored[0].name] == {0}
    torch.testing.assert_close(run_graph(graph, [x])[0], net(x))


@pytest.mark.parametrize("compute", CLOSED.values(), ids=CLOSED)
def test_what_cannot_be_seen_whole_closes_the_frames(compute: Compute) -> None:
    x = torch.randn(2, FRAMES, 5, 2)
    program, (finding,) = export(net_of(compute), (x,), {}, POSES)
    assert (finding.topic, finding.level) == ("capture", "note") and f"t = {FRAMES}" in finding.facts
    with pytest.raises(ModelRunError):
        read(program, (torch.randn(2, FRAMES + 1, 5, 2),), {})
    read(program, (torch.randn(3, FRAMES, 5, 2),), {})


@pytest.mark.parametrize(("compute", "name", "axis"), ALONE.values(), ids=ALONE)
def test_axes_of_fixed_size_that_an_open_size_cuts_are_left_alone(compute: Compute, name: str, axis: int) -> None:
    graph = captured(net_of(compute), torch.randn(2, FRAMES, 5, 2), axes=POSES)
    assert graph.left_alone == {name: {axis}}


@pytest.mark.parametrize("compute", HARMLESS.values(), ids=HARMLESS)
def test_what_is_the_same_at_all_sizes_changes_nothing(compute: Compute) -> None:
    x = torch.randn(2, FRAMES, 5, 2)
    program, findings = export(net_of(compute), (x,), {}, POSES)
    graph = read(program, (x,), {})
    assert (
        findings == ()
        and not graph.left_alone
        and all(max(leaf.shape, default=1) < LONG for leaf in graph.leaves.values())
    )


JOINTS = Representation.of(SignedPermutation.of([(1, 2), (3, 4)], size=5))
PLANE = Representation.of(SignedPermutation.of(negated=[0], size=2))
BLIND = [name for name in SEEN if name != "two axes"]
"""Each of these tells left from right in frame 40; `two axes` mixes frames, for all joints alike."""


@pytest.mark.parametrize("compute", [*map(SEEN.get, BLIND), ALONE["a joint"][0]], ids=[*BLIND, "a joint"])
def test_what_the_examples_do_not_read_is_no_way_around_a_proof(compute: Compute) -> None:
    x = torch.randn(2, FRAMES, 5, 2)
    graph = spelled(exported(net_of(compute), x, axes=POSES), (x,), {})
    (shape,) = graph.output_shapes
    poses = [
        TensorRepresentation((*map(Representation.trivial, sizes), JOINTS, PLANE))
        for sizes in ((2, FRAMES), shape[:-2])
    ]
    with pytest.raises(UnsupportedError):
        inference = Inference(graph, poses[:1], poses[1:])
        inference.finish()
        inference.check_constants()


def test_a_program_of_others_that_cannot_be_seen_whole_is_refused() -> None:
    x = torch.randn(2, FRAMES, 5, 2)
    dims = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
    program = torch.export.export(net_of(CLOSED["one entry"]), (x,), dynamic_shapes={"x": dims[0]}, strict=False)
    with pytest.raises(OpenSizeError):
        read(program, (x,), {})


def test_with_closed_frames_the_graph_holds_what_it_reads() -> None:
    graph = captured(net_of(SEEN["a sum"]), torch.randn(2, FRAMES, 5, 2), axes=[{0: "b"}])
    assert not graph.left_alone and all(
        leaf.shape[0] < LONG for leaf in graph.leaves.values() if leaf.kind == "constant"
    )


def test_numbers_in_float64_are_the_networks() -> None:
    assert captured(net_of(SEEN["a sum"]).double(), normal(2, FRAMES, 5, 2), axes=POSES).nodes

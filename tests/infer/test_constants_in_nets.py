"""Constants that the mirror changes: refused with the largest deviation, or projected if that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import AsymmetricConstantError, ConstantsWarning, UnsupportedError
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.command import Shell, working_shell
from tests.support.small_body import (
    BODY,
    IMAGE,
    POSE,
    ROUNDING,
    Net,
    converted,
    converted_from,
    normal,
    residual,
    stored,
    trained,
    turned,
    verdicts,
    verified_file,
)

BONES = [(0, 1), (1, 2), (0, 3), (3, 4), (0, 5)]
OFF = 0.125
FOLD = torch.eye(6, dtype=torch.float64)[list(IMAGE)]


def adjacency(lopsided: bool = True) -> Tensor:
    """Bones both ways; the bone of the left leg a little longer than its mirror image."""
    matrix = torch.eye(6, dtype=torch.float64)
    for a, b in BONES:
        matrix[a, b] = matrix[b, a] = 0.5
    matrix[1, 2] += OFF * lopsided
    return matrix


class Graph(nn.Module):
    """A graph convolution; where its adjacency is kept is what differs."""

    def __init__(self, keep: str, matrix: Tensor, width: int = 16) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, width), nn.Linear(width, 2)
        self.keep = keep
        if keep == "buffer":
            self.register_buffer("matrix", matrix)
        elif keep == "hidden buffer":
            self.register_buffer("matrix", matrix, persistent=False)
        elif keep == "frozen parameter":
            self.matrix = nn.Parameter(matrix, requires_grad=False)
        else:
            self.matrix = matrix
        self.length = 0.5 + OFF

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.matrix
        if self.keep == "computed":
            matrix = torch.eye(6, dtype=x.dtype)
            for a, b in BONES:
                matrix[a, b] = matrix[b, a] = 0.5
            matrix[1, 2] = self.length
        return self.last(torch.einsum("vw,bwc->bvc", matrix, self.first(x)).relu())


def graph(keep: str, lopsided: bool = True) -> nn.Module:
    net = Graph(keep, adjacency(lopsided))
    if keep == "frozen parameter":
        trained(net)
        with torch.no_grad():
            net.get_parameter("matrix").copy_(adjacency(lopsided))
        return net
    return trained(net)


@cache
def ready(keep: str) -> Network:
    return prepare(graph(keep), parse_spec(POSE), (normal(3, 6, 2),))


STORED = ["buffer", "hidden buffer", "attribute", "frozen parameter"]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("keep", [*STORED, "computed"])
def test_refused(keep: str) -> None:
    """Its name where it has one, how far it changes, and what can be done."""
    with pytest.raises(AsymmetricConstantError) as caught:
        converted_from(ready(keep))
    text = str(caught.value)
    assert f"(6, 6) changes by {OFF} under the mirror: " in text and "test_constants_in_nets.py" in text
    assert f"{0.5 + OFF:.3g} stands at [1, 2], {0.5:.3g} comes from [3, 4]" in text
    if keep == "computed":
        assert "make what forward computes it from symmetric" in text and "--symmetrize" not in text
    else:
        assert "constant matrix" in text and "--symmetrize-constants" in text


@pytest.mark.one_in(4)
@pytest.mark.parametrize("keep", STORED)
def test_symmetrized(keep: str) -> None:
    """The average of both, and the report says by how much it moved."""
    net = graph(keep)
    with pytest.warns(ConstantsWarning, match=r"^constants were changed: matrix \(3\.0 %\)$"):
        own = converted(net, symmetrize_constants=True)
    assert residual(own, (5, 6, 2)) <= ROUNDING and verdicts(own)[:2] == (True, True)
    assert torch.equal(own.matrix, (adjacency() + FOLD @ adjacency() @ FOLD.T) / 2)  # type: ignore[arg-type]
    assert torch.equal(net.matrix, adjacency())  # type: ignore[arg-type]
    moved = {move.name: move.distance for move in own.chirality.report.changes.moved}
    difference = (own.matrix - net.matrix).norm() / net.matrix.norm()  # type: ignore[operator, union-attr]
    assert moved["matrix"] == pytest.approx(float(difference))


def test_what_forward_computes_cannot_be_changed() -> None:
    says = r"symmetric \(--symmetrize-constants changes only constants that the model stores\)"
    with pytest.raises(AsymmetricConstantError, match=says):
        converted_from(ready("computed"), symmetrize_constants=True)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("keep", STORED)
def test_symmetric_ones_come_through_bit_for_bit(keep: str) -> None:
    own = converted(graph(keep, lopsided=False), symmetrize_constants=True)
    assert torch.equal(own.matrix, adjacency(lopsided=False))  # type: ignore[arg-type]
    assert "matrix" not in {move.name for move in own.chirality.report.changes.moved}
    assert residual(own, (5, 6, 2)) <= ROUNDING


# ---- constants that say how axes transform --------------------------------------------------------------------------
def spread(net: Net, x: Tensor) -> Tensor:
    """Three graphs at once; what comes out goes into a dense layer, so that nothing says how its axes transform."""
    parts = torch.einsum("kvw,bvd->bkwd", net.graphs, x)
    return net.last(parts.flatten(1)).view(-1, 6, 2)


def mirror_images(count: int = 3) -> Tensor:
    """Random graphs, each its own mirror image."""
    graphs = normal(count, 6, 6, seed=4)
    return (graphs + FOLD @ graphs @ FOLD.T) / 2


def test_two_open_axes() -> None:
    """Neither the number of the graph nor the joint that comes out is known: the constant itself says it."""
    own = converted(trained(Net(spread, graphs=mirror_images(), last=nn.Linear(36, 12))))
    assert residual(own, (5, 6, 2)) <= ROUNDING and own.chirality.report.judgement.certificate.passed
    assert torch.equal(own.graphs, mirror_images())  # type: ignore[arg-type]


def test_graphs_of_no_symmetry_are_refused() -> None:
    with pytest.raises(AsymmetricConstantError, match=r"graphs \(3, 6, 6\) changes by"):
        converted(trained(Net(spread, graphs=normal(3, 6, 6, seed=4), last=nn.Linear(36, 12))))


NAMES = ("x_centered", "linear_centered", "averaged_0", "add", "input")


def test_names_that_could_be_taken() -> None:
    """Constants and weights called like what steps and graphs call their own."""

    def compute(net: Net, x: Tensor) -> Tensor:
        for name in NAMES:
            x = getattr(net, name) @ net.get_submodule(f"{name}_centered")(x) + x
        return x

    constants = {name: adjacency(lopsided=False) for name in NAMES}
    own = converted(trained(Net(compute, **constants, **{f"{name}_centered": nn.Linear(2, 2) for name in NAMES})))
    assert residual(own, (2, 6, 2)) <= ROUNDING and own.chirality.report.judgement.certificate.passed


PIXELS = BODY + 'inputs: [{layout: "b j d", reflect: {x: 10}}]\noutputs: [{layout: "b j d", reflect: {x: 10}}]\n'


@pytest.mark.parametrize("symmetrize", [False, True])
def test_a_number_seen_from_the_centre_is_no_constant_of_the_network(symmetrize: bool) -> None:
    """3 is added to x and y alike: no constant that the network holds could be changed to mend that."""
    net = Net(lambda net, x: net.last(x.flatten(1)).view(-1, 6, 2) + x + 3.0, last=nn.Linear(12, 12))
    with pytest.raises(AsymmetricConstantError, match="changes by 6 (?s:.*)make what forward computes it from"):
        converted(trained(net), PIXELS, symmetrize_constants=symmetrize)


def test_a_stored_offset_seen_from_the_centre() -> None:
    """An offset of pixels is projected as an offset."""
    offset = normal(6, 2, seed=2)
    net = Net(
        lambda net, x: net.last((x + net.offset).flatten(1)).view(-1, 6, 2), last=nn.Linear(12, 12), offset=offset
    )
    own = converted(trained(net), PIXELS, symmetrize_constants=True)
    image = torch.tensor([20.0, 0.0]) + turned(normal(4, 6, 2))
    with torch.no_grad():
        assert torch.allclose(own(image), torch.tensor([20.0, 0.0]) + turned(own(normal(4, 6, 2))), atol=1e-9)
    assert torch.allclose(own.offset, (offset + turned(offset)) / 2)  # type: ignore[arg-type]


@pytest.mark.thorough
# ---- files ----------------------------------------------------------------------------------------------------------
def test_through_a_file(tmp_path: Path) -> None:
    """The projected constant is in the file; `verify` accepts it as it is, and nothing lopsided in its place."""
    path = stored(graph("attribute"), tmp_path, symmetrize_constants=True)
    assert verified_file(path, (4, 6, 2))[1].passed
    with pytest.warns(ConstantsWarning, match="matrix"):
        own = converted(graph("buffer"), symmetrize_constants=True)
    with torch.no_grad():
        own.matrix[1, 2] *= 1 + 1e-3  # type: ignore[index, operator]
    assert verdicts(own)[:2] == (False, False)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


MODULE = "cli_graph_nets"
SOURCE = """
import torch
from torch import nn

class Graph(nn.Module):
    def __init__(self, plain=False):
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 2)
        matrix = torch.eye(6)
        matrix[1, 2] = 0.125
        if plain:
            self.matrix = matrix
        else:
            self.register_buffer("matrix", matrix)

    def forward(self, x):
        return self.last((self.matrix @ self.first(x)).relu())
"""


@pytest.mark.thorough
def test_on_the_command_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named in the report; weights alone are refused where they do not hold the constant that was changed."""
    (shell.folder / f"{MODULE}.py").write_text(SOURCE)
    (shell.folder / "pose.yaml").write_text(POSE)
    module: dict[str, Callable[..., nn.Module]] = {"__name__": MODULE}  # type: ignore[dict-item]
    exec(SOURCE, module)
    state = trained(module["Graph"]()).float().state_dict()
    torch.save(state, shell.folder / "buffer.pt")
    torch.save({name: own for name, own in state.items() if name != "matrix"}, shell.folder / "plain.pt")
    words = ("--model", f"{MODULE}:Graph", "--skeleton", "pose.yaml", "--input-shape", "2,6,2")
    options = ("--method", "project", "--samples", "2")
    found = shell("convert", "buffer.pt", *words, *options, "-o", "out.pt")
    assert found.status == 3 and "AsymmetricConstantError CH304" in found.err and "0.125" in found.err
    found = shell(
        "convert", "buffer.pt", *words, *options, "--symmetrize-constants", "-o", "out.pt", "--format", "json"
    )
    assert found.status == 0, found.err
    assert "matrix" in {own["name"] for own in json.loads(found.out)["moved"]}
    assert shell("verify", "out.pt", *words).status == 0
    before = shell.listing().keys()
    plain = ("convert", "plain.pt", *words, "--arg", "plain=true", *options, "--symmetrize-constants")
    found = shell(*plain, "-o", "other.pt")
    assert found.status == 2 and "matrix changed" in found.err and "register_buffer" in found.err
    assert shell.listing().keys() == before
    assert shell(*plain, "-o", "other.pt2").status == 0 and shell("verify", "other.pt2").status == 0


# ---- axes of which a constant knows a part only ---------------------------------------------------------------------
def partitioned(free_of_signs: bool) -> nn.Module:
    """A graph convolution over several adjacencies: their number is a factor of hidden channels."""

    def run(s: Net, x: Tensor) -> Tensor:
        rows = s.first(x).unflatten(-1, (3, 8))
        rows = rows.relu() if free_of_signs else rows
        return s.last(torch.einsum("bwkc,kvw->bvc", rows, s.graphs))

    graphs = torch.stack([torch.eye(6, dtype=torch.float64), adjacency(False), adjacency(False).mT @ adjacency(False)])
    return trained(Net(run, first=nn.Linear(2, 24), last=nn.Linear(8, 2), graphs=graphs))


def several_scales() -> nn.Module:
    """An adjacency of "scale joint" by "window joint", as multi-scale convolutions over short windows keep it."""

    def run(s: Net, x: Tensor) -> Tensor:
        h = torch.einsum("vu,btuc->btvc", s.graphs, s.first(x).unfold(1, 2, 1).permute(0, 1, 4, 2, 3).flatten(2, 3))
        return s.last(h.unflatten(2, (3, 12)).transpose(2, 3).flatten(3).relu()).unflatten(2, (2, 6)).mean(2)

    graphs = torch.cat([torch.kron(torch.ones(2, 2), torch.linalg.matrix_power(adjacency(False), own))
                        for own in range(3)]).double()  # fmt: skip
    return trained(Net(run, first=nn.Linear(2, 8), last=nn.Linear(24, 2), graphs=graphs))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("free_of_signs", "method"), [(True, "match"), (False, "project")])
def test_a_factor_of_hidden_channels_is_settled_by_a_constant(free_of_signs: bool, method: str) -> None:
    found = converted(partitioned(free_of_signs), method=method)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "project"])
def test_an_axis_of_scales_and_joints(method: str) -> None:
    clip = BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b t j d"}]\n'
    found = converted(several_scales(), clip, (2, 4, 6, 2), method=method)
    assert residual(found, (2, 4, 6, 2)) <= ROUNDING


# ---- with inputs to fit on -------------------------------------------------------------------------------------------
def fitted(**options: object) -> nn.Module:
    return converted(trained(Graph("buffer", adjacency())), calibration=normal(200, 6, 2, seed=3), **options)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "reduce"])
def test_a_fit_does_not_begin_beside_a_lopsided_constant(method: str) -> None:
    with pytest.raises(AsymmetricConstantError, match="constant matrix"):
        fitted(method=method)


def test_auto_averages_what_has_a_lopsided_constant() -> None:
    found = fitted(method="auto")
    assert found.chirality.method == "average"  # type: ignore[union-attr]
    assert residual(found, (3, 6, 2)) == 0


@pytest.mark.thorough
def test_a_match_with_inputs_makes_constants_symmetric_where_that_is_asked_for() -> None:
    with pytest.warns(ConstantsWarning, match=r"matrix \(3\.0 %\)"):
        found = fitted(method="match", symmetrize_constants=True)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)


def masked(mask: Tensor) -> nn.Module:
    """Every weight times a mask of its own size: as many numbers are kept from training as are trained."""

    def compute(s: Net, x: Tensor) -> Tensor:
        return (x.flatten(1) @ (s.weight * s.mask)).tanh().view(x.shape)

    net = trained(
        Net(compute, weight=nn.Parameter(torch.zeros(12, 12)), mask=nn.Parameter(mask.clone(), requires_grad=False))
    )
    with torch.no_grad():
        net.get_parameter("mask").copy_(mask)
    return net


def test_masks_are_constants_however_many() -> None:
    """A bone that only the left side has would be averaged away to a half, without a word."""
    mask = (adjacency(False) > 0).double().repeat_interleave(2, 0).repeat_interleave(2, 1)
    own = converted(masked(mask))
    assert residual(own, (3, 6, 2)) <= ROUNDING and torch.equal(own.mask, mask)  # type: ignore[arg-type]
    mask[2, 5 * 2] = 1.0
    place = r"1 stands at \[2, 10\], 0 comes from \[6, 10\]"
    with pytest.raises(AsymmetricConstantError, match=rf"\(12, 12\) changes by 1 under the mirror: {place}"):
        converted(masked(mask))


class Windows(nn.Module):
    """Joints of several frames as nodes of one graph, mixed by powers of a constant adjacency and a learned one."""

    def __init__(self, entering: int, frames: int) -> None:
        super().__init__()
        whole = adjacency(False).repeat(frames, frames)
        self.register_buffer("matrix", torch.cat([whole, whole @ whole]))
        self.learned = nn.Parameter(torch.zeros(2 * 6 * frames, 6 * frames))
        self.frames, self.enter, self.norm = frames, nn.Conv2d(entering, 8, 1), nn.BatchNorm2d(8)
        self.unfold = nn.Unfold((frames, 1), padding=(frames // 2, 0))
        self.mixed, self.leave = nn.Conv2d(16, 8, 1), nn.Conv3d(8, 8, (1, frames, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.enter(x)))
        rows, channels, times, joints = x.shape
        parts = self.unfold(x).view(rows, channels, self.frames, -1, joints).permute(0, 1, 3, 2, 4)
        nodes = parts.reshape(rows, channels, times, self.frames * joints)
        mixed = torch.einsum("vu,nctu->nctv", self.matrix + self.learned, nodes)
        mixed = mixed.view(rows, channels, times, 2, -1).permute(0, 3, 1, 2, 4).reshape(rows, 2 * channels, times, -1)
        split = torch.relu(self.mixed(mixed)).view(rows, -1, times, self.frames, joints)
        return self.leave(split).squeeze(3)


@pytest.mark.thorough
def test_windows_of_several_lengths() -> None:
    """Nothing but the constants says what the nodes of a window are; two stages, so that one waits for the other."""
    parts = nn.ModuleDict({"a": Windows(2, 3), "b": Windows(2, 5), "c": Windows(8, 3), "d": Windows(8, 5)})
    between, last = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), stride=(2, 1)), nn.Linear(8, 5)

    def compute(s: Net, x: Tensor) -> Tensor:
        x = torch.relu(s.between(torch.relu(0 + s.parts["a"](x) + s.parts["b"](x))))
        return s.last(torch.relu(0 + s.parts["c"](x) + s.parts["d"](x)).mean((2, 3)))

    net = Net(compute, parts=parts, between=between, last=last)
    matrices = {name: own.clone() for name, own in net.named_buffers() if name.endswith("matrix")}
    net = trained(net)
    for name, own in matrices.items():
        net.get_buffer(name).copy_(own)
    spec = BODY + 'inputs: [{layout: "b d t j"}]\noutputs: [{invariant: true}]\n'
    found, x = converted(net, spec, (3, 2, 8, 6)), normal(4, 2, 8, 6, seed=5)
    there = found(turned(x.movedim(1, -1)).movedim(-1, 1))
    torch.testing.assert_close(there, found(x), rtol=0, atol=ROUNDING * float(found(x).detach().abs().max()))


# ---- infinities -----------------------------------------------------------------------------------------------------
def attention_with(*hidden: tuple[int, int], number: float = 0.0, minus: float = -torch.inf) -> Net:
    """Attention over the joints; `hidden`: which joint does not see which, by adding `minus`.  number: beside them."""
    mask = torch.full((6, 6), 0.0, dtype=torch.float64)
    mask[4, 2] = number
    for reader, read in hidden:
        mask[reader, read] = minus

    def compute(s: Net, x: Tensor) -> Tensor:
        q = s.first(x)
        return s.last(torch.softmax(q @ q.mT + s.mask, -1) @ q)

    net = trained(Net(compute, first=nn.Linear(2, 8), last=nn.Linear(8, 2), mask=mask))
    assert isinstance(net, Net)
    return net


def test_infinities_that_the_mirror_exchanges() -> None:
    found = converted(attention_with((1, 2), (3, 4), (0, 5)))
    assert residual(found, (3, 6, 2)) < ROUNDING and verdicts(found)[:2] == (True, True)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("hidden", "number"), [([(1, 2), (3, 4)], -7.0), ([(1, 2), (0, 5)], 0.0)])
def test_infinities_that_it_does_not(hidden: list[tuple[int, int]], number: float) -> None:
    """Beside an infinity every other entry is small, and minus it is no number: neither may hide what differs."""
    net = attention_with(*hidden, number=number)
    largest = "7" if number else "inf"
    with pytest.raises(AsymmetricConstantError, match=rf"constant mask \(6, 6\) changes by {largest} under the mirror"):
        converted(net)
    with pytest.warns(ConstantsWarning, match=r"^constants were changed: mask \((70\.7|100\.0) %\)$"):
        found = converted(net, symmetrize_constants=True)
    assert residual(found, (3, 6, 2)) < ROUNDING
    moved = {own.name: own.distance for own in found.chirality.report.changes.moved}  # type: ignore[union-attr]
    assert moved["mask"] == (pytest.approx(0.5**0.5) if number else 1.0)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("minus", [-1e9, float(torch.finfo(torch.float32).min)])
def test_large_numbers_in_the_place_of_infinity(minus: float) -> None:
    """In single precision the rounding of 1e9 is 60: it must not hide what is between other joints."""
    net, x = attention_with((1, 2), (3, 4), number=-3.0, minus=minus).float(), (normal(3, 6, 2).float(),)
    with pytest.raises(AsymmetricConstantError, match=r"constant mask \(6, 6\) changes by 3 under the mirror"):
        chiralize.chiralize(net, parse_spec(POSE), x, method="project", samples=1)
    mask = net.mask
    del net.mask
    net.mask = nn.Parameter(mask)
    found = chiralize.chiralize(net, parse_spec(POSE), x, method="project", samples=1)
    with torch.no_grad():
        found.mask[4, 2] -= 3.0  # type: ignore[operator, index]
    proof = chiralize.verify(found, parse_spec(POSE), x, samples=2).certificate
    assert proof is not None and not proof.passed and "mask (6, 6): max |W - T W| = 3" in str(proof.broken)


def test_a_mask_over_joints_that_is_declared_free() -> None:
    """The refusal says where to look, and with a layout the network converts."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(2, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor, seen: Tensor) -> Tensor:
            return self.down(self.up(x) * seen[..., None])

    call = (normal(3, 6, 2), torch.ones(3, 6, dtype=torch.float64))
    spec = BODY + 'inputs: [{{layout: "b j d"}}, {}]\noutputs: [{{layout: "b j d"}}]\n'
    net = trained(Masked())
    with pytest.raises(UnsupportedError, match=r"give input 1 a layout if one of its axes is the 6 joints"):
        chiralize.chiralize(net, parse_spec(spec.format("free")), call, method="match")
    given = parse_spec(spec.format('{layout: "b j", dims: []}'))
    assert chiralize.chiralize(net, given, call, method="match").chirality.report.passed

"""`reduce`, and `match` with inputs, on networks of every kind: symmetric whatever the width, exact where nothing is
left out."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.errors import MethodUnavailableError
from chiralize.graph import execution
from chiralize.methods import method_of
from chiralize.methods.auto import best, candidates, first_accepted
from chiralize.methods.reduce import cells
from chiralize.methods.reduce.fitting import Fitting
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.moments import measured
from chiralize.problem.checks import with_inputs
from chiralize.problem.mirror import infer
from chiralize.problem.prepare import prepare
from chiralize.problem.problem import Draft, Problem
from chiralize.problem.request import Request
from chiralize.storage.passport import Passport
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import Trial
from tests.support.small_body import CLIP, POSE, Net, normal, residual, trained, turned
from tests.support.zoo import CASES

CLOSE = 1e-11


def problem_of(net: nn.Module, spec: str, data: Any, width: float | None = None, method: str = "reduce") -> Problem:
    """The network with inputs of the user."""
    network = prepare(net, (data[:2].clone(),), None, parse_spec(spec))
    request = Request(method=method, width=width, data=data)
    return with_inputs(Problem(network, request, None if method == "auto" else method_of(method)))


def drafted(net: nn.Module, spec: str, data: Any, width: float | None = None, method: str = "reduce") -> Draft:
    """The first draft: in pairs."""
    problem = problem_of(net, spec, data, width, method)
    return next(iter(problem.method.drafts(problem)))


def residual_block(s: Any, x: Tensor) -> Tensor:
    """A residual perceptron with a batch norm."""
    hidden = s.norm(s.first(x.flatten(1))).relu()
    hidden = hidden + s.up(hidden).relu()
    return s.last(hidden).view(x.shape)


def temporal(s: Any, x: Tensor) -> Tensor:
    """Convolutions over frames, which lie behind the channels."""
    hidden = s.first(x.flatten(2).transpose(1, 2)).relu()
    return s.last(hidden).transpose(1, 2).reshape(x.shape)


def recurrent(s: Any, x: Tensor) -> Tensor:
    """A recurrent layer over frames."""
    return s.last(s.core(x.flatten(2))[0]).view(x.shape)


def built(kind: str) -> nn.Module:
    """A network with random weights."""
    parts: dict[str, Any] = {
        "residual": {"first": nn.Linear(12, 16), "norm": nn.BatchNorm1d(16), "up": nn.Linear(16, 16)},
        "temporal": {"first": nn.Conv1d(12, 16, 3, padding=1)},
        "lstm": {"core": nn.LSTM(12, 8, batch_first=True)},
        "gru": {"core": nn.GRU(12, 8, 2, batch_first=True, bidirectional=True)},
    }
    compute = {"residual": residual_block, "temporal": temporal}.get(kind, recurrent)
    last = {"residual": nn.Linear(16, 12), "temporal": nn.Conv1d(16, 12, 1), "lstm": nn.Linear(8, 12)}
    return trained(Net(compute, **parts[kind], last=last.get(kind, nn.Linear(16, 12))), 3)


def shape_of(kind: str) -> tuple[int, ...]:
    return (6, 2) if kind == "residual" else (5, 6, 2)


def spec_of(kind: str) -> str:
    return POSE if kind == "residual" else CLIP


KINDS = ("residual", "temporal", "lstm", "gru")


@cache
def reduced(kind: str, width: float) -> Draft:
    return drafted(built(kind), spec_of(kind), normal(240, *shape_of(kind), seed=2), width)


def flip_average(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return (net(x) + turned(net(turned(x)))) / 2


# ---- whatever the width ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [0.35, 0.5, 0.707])
def test_commutes_with_the_mirror(kind: str, width: float) -> None:
    """T is written out in the test; the original is far from symmetric."""
    draft, batch = reduced(kind, width), (4, *shape_of(kind))
    assert residual(built(kind), batch) > 0.1
    assert residual(draft.module, batch) <= CLOSE
    assert draft.form == ("folded" if width == 0.5 else "dense")
    assert (draft.macs > 0) == (width > 0.5) and (draft.macs < 0) == (width < 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_fits_into_the_original_class(kind: str) -> None:
    """The class itself computes the same with these weights."""
    draft, twin = reduced(kind, 0.5), built(kind)
    twin.load_state_dict(draft.module.state_dict(), strict=True)
    x = normal(4, *shape_of(kind), seed=9)
    with torch.no_grad():
        assert torch.equal(twin(x), draft.module(x))


@pytest.mark.parametrize("kind", KINDS)
def test_better_than_random_weights(kind: str) -> None:
    """The results are nearer to the flip average than a network that says its mean, and nearer with more units."""
    x = normal(64, *shape_of(kind), seed=9)
    wanted = flip_average(built(kind), x)
    off = []
    for width in (0.5, 0.707):
        with torch.no_grad():
            off.append(float((reduced(kind, width).module(x) - wanted).square().mean() / wanted.var()))
    assert off[1] < off[0] < 0.5


def test_what_is_left_alone() -> None:
    """Neither the network of the user nor its statistics change."""
    net = built("residual")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drafted(net, POSE, normal(240, 6, 2, seed=2))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# ---- where nothing is left out ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["residual", "temporal", "lstm"])
def test_nearly_all_units_are_fitted_exactly(kind: str) -> None:
    """Every hidden weight meets what the original does on x and on T x; the head has the original's asymmetry."""
    errors = {each.name: each.error for each in reduced(kind, 0.9999).fitted}
    last = errors.pop("last.weight")
    assert errors and max(errors.values()) <= 1e-9 and last < 0.1


def test_cells_read_the_states_before_each_step() -> None:
    """Forwards and backwards; the states are those of the layer cut off after every step."""
    net = trained(Net(recurrent, core=nn.GRU(12, 8, batch_first=True, bidirectional=True), last=nn.Linear(16, 12)))
    x = normal(8, 5, 6, 2, seed=4)
    network = prepare(net, (x,), None, parse_spec(CLIP))
    captured, core = network.graph(), network.module.get_submodule("core")
    (node,) = (node for node in captured.nodes if cells.cells(node, captured))
    values = execution.start(captured, [x])
    for earlier in captured.nodes[: captured.nodes.index(node)]:
        values[earlier.name] = execution.evaluate(earlier, values)
    ahead, back = cells.steps(node, 4, values)
    with torch.no_grad():
        for frame in range(5):
            before = torch.zeros(8, 8) if frame == 0 else core(x.flatten(2)[:, :frame])[0][:, -1, :8]
            after = torch.zeros(8, 8) if frame == 4 else core(x.flatten(2)[:, frame + 1 :])[0][:, 0, 8:]
            torch.testing.assert_close(ahead.h[:, frame], before.double(), rtol=0, atol=1e-12)
            torch.testing.assert_close(back.h[:, frame], after.double(), rtol=0, atol=1e-12)


def test_what_a_convolution_makes_of_its_channels() -> None:
    """A channel that no entry of the kernel reads has no say in what stays; the others have by all of their entries."""
    net = trained(Net(temporal, first=nn.Conv1d(12, 16, 1), last=nn.Conv1d(16, 12, 3, padding=1)), 3)
    with torch.no_grad():
        net.last.weight[:, 5:8] = 0  # type: ignore[index, union-attr, operator]
    network = prepare(net, (normal(4, 5, 6, 2),), None, parse_spec(CLIP))
    (space,) = infer(network).result().spaces
    (units,) = measured(network.graph(), infer(network).result(), [])[space.key]
    weight = net.last.weight.double()  # type: ignore[union-attr, operator]
    wanted = torch.einsum("oip,ojp->ij", weight, weight)  # type: ignore[arg-type]
    torch.testing.assert_close(units.metric, wanted.detach(), rtol=1e-12, atol=1e-12)


def test_forgetting_the_mirror_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: what units do on T x is taken as it is, without T."""
    plain = Lifting.value

    def forgetful(self: Lifting, first: Tensor, _: Tensor, rep: Any) -> Tensor:
        return plain(self, first, first, rep)

    monkeypatch.setattr(Lifting, "value", forgetful)
    errors = {each.name: each.error for each in drafted(built("residual"), POSE, normal(240, 6, 2), 0.9999).fitted}
    assert max(error for name, error in errors.items() if name != "last.weight") > 1e-3


# ---- networks of the zoo, judged as any result is --------------------------------------------------------------------
@pytest.mark.parametrize("method", ["reduce", "match"])
@pytest.mark.parametrize(
    "name",
    [
        "temporal strided", "residual layer norm", "gated, odd sizes", "grouped convolutions", "parts", "lstm",
        "gru, both ways, two layers", "encoder and decoder", "gru cell by hand", "policy, normalised",
        "swapped classes", "graph", "shared and tied", "attention over joints",
    ],
)  # fmt: skip
def test_the_zoo(name: str, method: str) -> None:
    """Both verdicts pass on what comes out, with the passport that says how its weights transform."""
    case = CASES[name]
    args, kwargs = case.example()
    network = prepare(case.model(), args, kwargs, parse_spec(case.spec), entry=case.entry)
    calls = [step for seed in range(12) for step in case.steps(1, seed=seed)]
    data: list[Any] = []
    for (first, *others), _ in calls:
        data.append((first, *others) if others else first)
    problem = with_inputs(Problem(network, Request(method=method, data=data), method_of(method)))
    draft = next(iter(problem.method.drafts(problem)))
    assert draft.fitted and draft.form == "folded"
    after = prepare(draft.module, args, kwargs, network.spec, program=draft.program)
    passport = Passport(network.spec, method, draft.form, draft.action.hidden, draft.action.exchanged)
    assert judge(after, passport, trial=Trial(samples=1)).passed


def test_heads_stay_with_their_images() -> None:
    """An encoder over joints: proved at other sizes of its heads, and nearer to the flip average with more of them."""
    encoder = nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True, norm_first=True)
    net = trained(nn.Sequential(nn.Linear(2, 16), encoder, nn.Linear(16, 2)))
    x, data = normal(64, 6, 2, seed=9).cumsum(1), normal(400, 6, 2, seed=2).cumsum(1)
    wanted, off = flip_average(net, x), []
    for width in (0.5, 0.707):
        draft = drafted(net, POSE, data, width)
        assert sum("every head" in choice.reason for choice in draft.choices) == 2
        assert residual(draft.module, (5, 6, 2)) <= CLOSE
        with torch.no_grad():
            off.append(float((draft.module(x) - wanted).square().mean() / wanted.var()))
    assert off[1] < off[0] < 0.05


# ---- match, auto -----------------------------------------------------------------------------------------------------
def test_match_with_inputs_is_nearer() -> None:
    """Partners by what units do, and weights refitted: nearer to the flip average than projected weights."""
    net, data = built("residual"), normal(400, 6, 2, seed=2)
    network = prepare(net, (data[:2].clone(),), None, parse_spec(POSE))
    request = Request(method="match", data=data)
    bare = Problem(network, request, method_of("match"))
    x = normal(64, 6, 2, seed=9)
    wanted = flip_average(net, x)
    with torch.no_grad():
        far = [
            float((best(problem, problem.method).draft.module(x) - wanted).square().mean())
            for problem in (with_inputs(bare), bare)
        ]
    assert far[0] < far[1]


def test_auto_takes_the_first_that_is_accepted() -> None:
    """½, 0.707, both views; why the others were not taken stands in findings."""
    problem = problem_of(built("residual"), POSE, normal(240, 6, 2), method="auto")
    assert [each.title for each in candidates(problem)] == ["reduce at width 0.5", "reduce at width 0.707", "average"]
    asked = []

    def attempt(tried: Problem, method: Any) -> str:
        asked.append((method.name, tried.request.width))
        if method.name != "average":
            raise MethodUnavailableError("here", "no", "never")
        return "taken"

    result, findings = first_accepted(problem, attempt)
    assert result == "taken" and asked == [("reduce", 0.5), ("reduce", 0.707), ("average", None)]
    assert [finding.topic for finding in findings] == ["drift", "drift"]


# ---- refusals --------------------------------------------------------------------------------------------------------
def test_nothing_to_fit_on() -> None:
    network = prepare(built("residual"), (normal(2, 6, 2),), None, parse_spec(POSE))
    problem = Problem(network, Request(method="reduce"), method_of("reduce"))
    with pytest.raises(MethodUnavailableError) as error:
        next(iter(problem.method.drafts(problem)))
    assert "--calibration" in error.value.remedy


def test_no_hidden_space() -> None:
    net = trained(Net(lambda s, x: s.last(x.flatten(1)).view(x.shape), last=nn.Linear(12, 12)))
    with pytest.raises(MethodUnavailableError):
        drafted(net, POSE, normal(100, 6, 2))


def test_a_graph_that_does_not_run_on_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise RuntimeError("shape '[1, 4]' is invalid for input of size 8\nsecond line")

    monkeypatch.setattr(Fitting, "run", run)
    with pytest.raises(MethodUnavailableError) as error:
        drafted(built("residual"), POSE, normal(100, 6, 2))
    assert "second line" not in str(error.value)

"""Networks of every kind, through every method: exact, and everything that was promised kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.commands.verify import verify as verify_subject
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.zoo import CASES
from tests.support.zoo.case import Case
from tests.support.zoo.judging import answers, apart, flip_average, residual, scale

FLOAT64, FLOAT32 = 1e-10, 1e-5


def contents(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def unchanged(before: dict[str, Tensor], module: nn.Module) -> bool:
    after = module.state_dict()
    return list(before) == list(after) and all(torch.equal(own, after[name]) for name, own in before.items())


def prepared(case: Case, model: nn.Module, dtype: torch.dtype = torch.float64) -> Network:
    args, kwargs = case.example(dtype)
    return prepare(model, parse_spec(case.spec), args, kwargs, case.entry)


VERIFIED_AGAIN = ("temporal", "lstm", "policy, act", "shared and tied", "states passed along", "policy, gru in buffers")


def check_folded(case: Case, model: nn.Module, found: Conversion, method: str) -> None:
    """The original's class, keys and sizes; the weights load into a fresh instance, which is equivariant by itself."""
    assert found.report.form == "folded" and found.report.method.partition(",")[0] == method
    assert {name: own.shape for name, own in found.module.state_dict().items()} == {
        name: own.shape for name, own in model.state_dict().items()
    }
    if not case.refolds:  # activations that were called as functions: a graph module
        return
    assert type(found.module) is type(model)
    if "activation: tanh" not in case.spec:  # else the class itself still says ReLU
        fresh = case.build().double().eval()
        fresh.load_state_dict(found.module.state_dict(), strict=True)
        assert residual(fresh, case) <= FLOAT64
        if case.name in VERIFIED_AGAIN and method == "match":
            assert verify_subject(prepared(case, fresh), case.name, found.passport, samples=2).passed


def methods(case: Case) -> tuple[str, ...]:
    """`match`, and in turn `project`, `average` or no other; all of them where states are doubled or another method
    than forward is called.
    """
    if len(case.only) < 3 or case.stateful or None in case.turns_in or case.entry != "forward":
        return case.only
    place = list(CASES).index(case.name) % 3
    return case.only[:1] + case.only[1 + place : 2 + place]


@pytest.mark.one_in(24)
@pytest.mark.parametrize("name", CASES)
def test_every_method_is_exact(name: str) -> None:
    """float64: residual with T written here, keys, two-view answers, both verdicts, the original untouched."""
    case = CASES[name]
    model = case.model()
    before = contents(model)
    network = prepared(case, model)
    own = answers(model, case)
    assert_fails_with_a_place(network, name)
    for method in methods(case):
        found = convert(network, name, Request(method, samples=2))
        lifted = method == "average"
        assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed
        assert residual(found.module, case, lifted=lifted) <= FLOAT64, method
        if lifted:
            average = flip_average(model, case)
            assert apart(answers(found.module, case, lifted=True), average) <= 1e-12 * scale(average)
        else:
            check_folded(case, model, found, method)
            assert apart(answers(found.module, case), own) > 1e-6  # it was not equivariant before
    assert unchanged(before, model)


def assert_fails_with_a_place(network: Network, name: str) -> None:
    """Both verdicts on the original, and the certificate says where."""
    report = verify_subject(network, name, samples=1)
    assert not report.judgement.numeric.passed
    assert report.judgement.certificate is not None and not report.judgement.certificate.passed
    assert str(report.judgement.certificate.where) not in ("", "the model") and report.judgement.certificate.broken


SINGLE = ("temporal", "gru cell by hand", "policy, gru in buffers", "policy, normalised", "swapped classes")


@pytest.mark.thorough
@pytest.mark.parametrize("name", SINGLE)
def test_float32(name: str) -> None:
    case = CASES[name]
    model = case.model(torch.float32)
    network = prepared(case, model, torch.float32)
    for method in methods(case):
        found = convert(network, name, Request(method, samples=2))
        assert residual(found.module, case, torch.float32, method == "average") <= FLOAT32, method


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["temporal", "policy, act", "policy, gru in buffers", "shared and tied"])
def test_an_equivariant_network_comes_back_as_it_is(name: str) -> None:
    case = CASES[name]
    first = convert(prepared(case, case.model()), name, Request("match", samples=1))
    kept = contents(first.module)
    network = prepared(case, first.module)
    for method in ("match", "project", "average"):
        again = convert(network, name, Request(method, samples=1))
        assert again.report.way.unchanged, method
        assert unchanged(kept, again.module)


@pytest.mark.thorough
def test_a_lifted_network_without_its_passport_is_left_alone() -> None:
    """That two views are averaged is seen in its graph, not taken from what its file says."""
    case = CASES["temporal"]
    first = convert(prepared(case, case.model()), case.name, Request("average", samples=1))
    again = convert(prepared(case, first.module), case.name, Request("match", samples=1))
    assert again.report.way.unchanged and again.report.passed
    assert (
        again.report.judgement.certificate is not None
        and "two views averaged" in again.report.judgement.certificate.notes[0]
    )

"""A method is one file: as soon as that file is there, the command line names it and `convert` uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.cli.converting import method_option
from chiralize.commands.convert import Request, convert
from chiralize.commands.plan import plan
from chiralize.errors import MethodUnavailableError, UsageError
from chiralize.methods import ways
from chiralize.methods.names import AUTO, names
from chiralize.methods.registry import method_of, methods
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.small_body import POSE, ROUNDING, Net, normal, residual, trained

HALVES = '''
"""`halves`: the second half of all hidden units mirrors the first."""

from functools import partial

from chiralize.methods.fill.projection import projected
from chiralize.methods.replaced_parts import with_replaced_parts
from chiralize.problem.problem import Method
from chiralize.symmetry.involution import SignedPermutation


def _pairing(problem):
    return lambda spaces, repmap: {space.key: (SignedPermutation.halves(space.size), "halves") for space in spaces}


def _drafts(problem):
    yield projected(problem, "halves", _pairing)


METHOD = Method(
    "halves", _drafts, partial(with_replaced_parts, method="halves"), pairing=_pairing, keeps_units=True,
    on_weights="project weights",
)
'''


@pytest.fixture
def with_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file among the methods."""
    (tmp_path / "halves.py").write_text(HALVES)
    monkeypatch.setattr(ways, "__path__", [*ways.__path__, str(tmp_path)])
    methods.cache_clear()
    yield
    methods.cache_clear()


def lifter() -> Network:
    net = trained(Net(lambda s, x: s.last(torch.tanh(s.first(x.flatten(1)))).unflatten(1, (6, 2)),
                      first=nn.Linear(12, 24), last=nn.Linear(24, 12)))  # fmt: skip
    return prepare(net, parse_spec(POSE), (normal(3, 6, 2),))


def test_a_method_is_the_file_of_its_name() -> None:
    assert names() == (AUTO, "reduce", "average", "match", "project") == tuple(methods())
    assert all(method.name == name for name, method in methods().items())
    assert [name for name, method in methods().items() if method.drafts is None] == [AUTO]
    for method in methods().values():
        assert method.fallback is None or methods()[method.fallback.method].drafts is not None


def test_an_unknown_method_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(MethodUnavailableError) as caught:
        method_of("halves")
    assert str(caught.value) == (
        "MethodUnavailableError CH307  --method: 'halves' is not in this version\n"
        "    Fix: use one of auto, reduce, average, match, project"
    )


def test_one_more_file_is_one_more_method(with_halves: None) -> None:
    network = lifter()
    conversion = convert(network, "net", Request("halves", samples=1, form="folded"))
    assert conversion.report.method == conversion.passport.method == "halves"
    assert conversion.report.passed and residual(conversion.module, (5, 6, 2)) <= ROUNDING
    assert {choice.reason for choice in conversion.report.changes.choices} == {"halves"}
    assert [row.action for row in plan(network, "net", "halves").rows].count("project weights") == 2


def test_what_goes_with_it_is_on_its_record(with_halves: None) -> None:
    for options, option in ({"width": 0.5}, "--width"), ({"form": "dense"}, "--form"), ({"mix": 0.5}, "--mix-gaussian"):
        with pytest.raises(UsageError, match=f"{option}: .*halves"):
            convert(lifter(), "net", Request("halves", **options))
    with pytest.raises(UsageError, match="halves cannot average a part"):
        convert(lifter(), "net", Request("halves", on_blocked="average"))


def test_the_command_line_names_it(with_halves: None) -> None:
    option = method_option("")
    assert option.metavar == "<auto|reduce|average|match|project|halves>" and option.parser("halves") == "halves"
    with pytest.raises(typer.BadParameter, match="'thirds' is not one of 'auto', .*, 'halves'"):
        option.parser("thirds")

"""`auto`: whatever a candidate fails at is a note, and the next follows; what no candidate is to blame for stops."""

from __future__ import annotations

import csv
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands import judging
from chiralize.errors import (
    AsymmetricConstantError,
    DataFileError,
    DegenerateError,
    DriftError,
    EquivarianceError,
    ExportError,
    InternalError,
    MethodUnavailableError,
    MirrorError,
    NoRuleError,
    OutputFileError,
    UsageError,
    VerdictsDisagreeError,
)
from chiralize.methods import auto
from chiralize.methods.auto import Candidate, candidates, first_accepted, why_two_passes
from chiralize.methods.reduce import reduce
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.request import WIDTHS, Request
from chiralize.verification.verdicts import NumericVerdict
from tests.support.problems import posed
from tests.support.small_body import POSE, normal, residual, trained

ACCURACY = Path(__file__).parents[2] / "benchmarks" / "accuracy"
INPUTS = [((normal(4, 6, 2),), {})]
GIVEN = Request(calibration=INPUTS)
WEIGHTS = replace(GIVEN, product="weights")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the network: its fits count as short."""
    monkeypatch.setattr(auto, "affordable_widths", lambda problem: WIDTHS)


def problem_of(request: Request) -> Problem:
    """A problem whose network nobody looks at."""
    return posed(cast(Network, None), request)


def titles(request: Request) -> list[str]:
    return [candidate.title for candidate in candidates(problem_of(request))]


def nothing(result: str, is_last: bool) -> str:
    return ""


def failing(**errors: BaseException) -> Callable[[str, Problem], str]:
    """An attempt that fails at some methods, called `reduce` and `reduce_wide` for the two widths."""

    def attempt(method: str, problem: Problem) -> str:
        name = "reduce_wide" if problem.request.width == 0.707 else method
        if name in errors:
            raise errors[name]
        return name

    return attempt


# ---- the order ------------------------------------------------------------------------------------------------------
def test_candidates() -> None:
    """Narrow, wide, both views; no graphs of other sizes where weights alone are wanted."""
    assert [own.title for own in candidates(problem_of(GIVEN))] == [
        "reduce at width 0.5",
        "reduce at width 0.707",
        "average",
    ]
    assert candidates(problem_of(Request())) == (Candidate("average"),)
    assert candidates(problem_of(replace(GIVEN, width=0.35))) == (Candidate("reduce", 0.35), Candidate("average"))
    assert titles(WEIGHTS) == ["reduce at width 0.5", "match"]
    asked = Candidate("reduce", 0.5).asked(replace(WEIGHTS, force=True), False)
    assert (asked.form, asked.width, asked.force) == ("folded", 0.5, False)
    assert Candidate("match").asked(replace(WEIGHTS, force=True), True).force
    assert Candidate("average").asked(GIVEN, True).form == "auto"


def test_one_width_alone_of_a_costly_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a note says so; a width that was asked for is tried whatever it takes."""
    monkeypatch.setattr(auto, "affordable_widths", lambda problem: WIDTHS[-1:])
    assert titles(GIVEN) == ["reduce at width 0.707", "average"]
    assert titles(replace(GIVEN, width=0.5)) == ["reduce at width 0.5", "average"]
    assert titles(WEIGHTS) == ["reduce at width 0.5", "match"]
    result, notes = first_accepted(problem_of(GIVEN), failing(), nothing)
    assert result == "reduce_wide"
    assert notes == ("reduce was tried at width 0.707 alone, since a fit takes minutes: --width 0.5 tries another",)


@pytest.mark.parametrize(("rho", "is_tried"), [(5.1, False), (4.9, True), (None, True)])
def test_no_wider_one_is_tried_where_rho_is_hopeless(rho: float | None, is_tried: bool) -> None:
    """Over four times the bound; and a note says so."""
    far = DriftError("net", "reduce: rho = 5 exceeds --max-drift 1.25", "")
    far.rho, far.bound = rho, 1.25
    tried = list[str]()

    def attempt(method: str, problem: Problem) -> str:
        tried.append(method + str(problem.request.width))
        if method == "reduce":
            raise far
        return method

    result, notes = first_accepted(problem_of(GIVEN), attempt, nothing)
    assert result == "average" and tried == ["reduce0.5", *(["reduce0.707"] if is_tried else []), "averageNone"]
    says = "reduce at width 0.707 was not tried: a fourth of that rho, less than it ever had, is too large as well"
    assert (says in notes) == (not is_tried) and len(notes) == 2


def test_a_wider_one_never_had_a_fourth_of_rho() -> None:
    """What `_HOPELESS` rests on: every pair of widths that was measured."""
    widths: dict[tuple[str, ...], dict[str, float]] = {}
    for name in ("results.csv", "mixers.csv", "samples.csv"):
        with (ACCURACY / name).open() as file:
            for row in csv.DictReader(file):
                of_network = (name, row["network"], row.get("flips", ""), row["seed"], row.get("samples", ""))
                width = row.get("width") or row["way"].removeprefix("reduce ")
                if width in ("0.5", "0.707"):
                    widths.setdefault(of_network, {})[width] = float(row["rho"])
    shares = [pair["0.707"] / pair["0.5"] for pair in widths.values() if len(pair) == 2]
    assert len(shares) >= 94 and min(shares) > 0.29 > 1 / auto._HOPELESS


@pytest.mark.parametrize("more", [True, False])
def test_more_than_narrow_inputs_is_tried_where_it_is_known(more: bool) -> None:
    """Every width on the given inputs, then on more; at another failure there is nothing to widen."""
    narrow = DriftError("net", "reduce: the calibration inputs are narrow", "")
    narrow.of_narrow_inputs = True
    tried = list[tuple[float | None, float]]()

    def attempt(method: str, problem: Problem) -> str:
        tried.append((problem.request.width, problem.request.mix))
        if method == "average":
            return method
        raise DriftError("net", "reduce: rho = 2", "") if problem.request.mix else narrow

    found, notes = first_accepted(problem_of(GIVEN), attempt, nothing, lambda: more)
    widths = [(0.5, 0.0), (0.5, 0.5), (0.707, 0.0), (0.707, 0.5)] if more else [(0.5, 0.0), (0.707, 0.0)]
    assert found == "average" and tried == [*widths, (None, 0.0)]
    assert any("reduce at width 0.5 on more than the given inputs was not taken" in own for own in notes) == more


def test_inputs_are_widened_for_that_failure_alone() -> None:
    """Not where an earlier candidate failed at them, and not where the user has mixed samples in."""
    narrow = DriftError("net", "reduce: the calibration inputs are narrow", "")
    narrow.of_narrow_inputs = True
    tried = list[tuple[float | None, float]]()

    def attempt(method: str, problem: Problem) -> str:
        tried.append((problem.request.width, problem.request.mix))
        if problem.request.width == 0.5:
            raise narrow
        return method

    def objection(result: str, is_last: bool) -> str:
        return "" if is_last else "it is not liked"

    assert first_accepted(problem_of(GIVEN), attempt, objection, lambda: True)[0] == "average"
    assert tried == [(0.5, 0.0), (0.5, 0.5), (0.707, 0.0), (None, 0.0)]
    tried.clear()
    first_accepted(problem_of(replace(GIVEN, mix=0.3)), attempt, objection, lambda: True)
    assert tried == [(0.5, 0.3), (0.707, 0.3), (None, 0.3)]


def test_the_first_is_taken() -> None:
    assert first_accepted(problem_of(GIVEN), failing(), nothing) == ("reduce", ())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            MethodUnavailableError("--form folded", "heads have other sizes", ""),
            "--form folded: heads have other sizes",
        ),
        (DriftError("net", "reduce: rho = 3 exceeds --max-drift 1.25 (x)", ""), "rho = 3 exceeds --max-drift 1.25 (x)"),
        (DegenerateError("net", "it ignores 3 of 9", ""), "net: it ignores 3 of 9"),
        (VerdictsDisagreeError("output 0", "proved, but\n    worst: 1", ""), "output 0: proved, but worst: 1"),
        (EquivarianceError("output 0", "off by 1", ""), "output 0: off by 1"),
        (InternalError("--form blocks", "they differ", ""), "--form blocks: they differ"),
        (KeyError("weight"), "a defect of chiralize, please report it (test_auto.py:"),
        (RuntimeError("sizes 3 and 4"), "RuntimeError: sizes 3 and 4)"),
        (RecursionError("too deep"), "RecursionError: too deep)"),
    ],
    ids=lambda own: type(own).__name__,
)
def test_a_failure_is_a_note(error: Exception, says: str) -> None:
    """A refusal of ours, a bound, a verdict, a defect: the next candidate follows."""
    found, notes = first_accepted(problem_of(GIVEN), failing(reduce=error), nothing)
    assert found == "reduce_wide" and len(notes) == 1
    assert notes[0].startswith("reduce at width 0.5 was not taken: ") and says in notes[0]


MEND = (
    "check the pairs of the skeleton where it is over joints; else make the constant symmetric, use "
    "--symmetrize-constants to have that done"
)


def test_a_table_with_a_slip_is_named_with_what_mends_it() -> None:
    remedy = f"{MEND}, or use --method average"
    error = AsymmetricConstantError("net.py:3", "constant adjacency (6, 6) changes by 1 under the mirror", remedy)
    _, (note, *_) = first_accepted(problem_of(GIVEN), failing(reduce=error), nothing)
    mend = f"for one pass, {MEND}"
    assert note.endswith(f"constant adjacency (6, 6) changes by 1 under the mirror; {mend}")


def test_what_no_width_changes_is_tried_once() -> None:
    """An op without a rule is in the way at every width; a constant that the chosen units move is not."""
    found, notes = first_accepted(
        problem_of(GIVEN), failing(reduce=NoRuleError("net.py:3", "no rule for aten.foo", "")), nothing
    )
    assert (found, len(notes)) == ("average", 1)
    other = AsymmetricConstantError("net.py:3", "table changes by 1 under the mirror of the units", "")
    other.settled = False
    assert first_accepted(problem_of(GIVEN), failing(reduce=other), nothing)[0] == "reduce_wide"


@pytest.mark.parametrize(
    "error",
    [
        UsageError("--rounds", "no", ""),
        MirrorError("net", "another mirror", ""),
        DataFileError("calibration", "no", ""),
        OutputFileError("state.pt", "no space left", ""),
        MemoryError(),
        KeyboardInterrupt(),
    ],
    ids=lambda own: type(own).__name__,
)
def test_what_no_candidate_is_to_blame_for_stops(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        first_accepted(problem_of(GIVEN), failing(reduce=error), nothing)
    assert caught.value is error


def test_objections_are_notes() -> None:
    """A finished result that is not to be taken; the last one hears that it is the last."""
    heard = []

    def object_to(result: str, is_last: bool) -> str:
        heard.append((result, is_last))
        return "" if is_last else "it cannot be exported"

    found, notes = first_accepted(problem_of(GIVEN), failing(), object_to)
    assert heard == [("reduce", False), ("reduce_wide", False), ("average", True)]
    assert (found, len(notes)) == ("average", 2)
    assert notes[0] == "reduce at width 0.5 was not taken: it cannot be exported"


def test_the_last_error_tells_of_the_others() -> None:
    errors = {
        "reduce": ValueError("a"),
        "reduce_wide": ValueError("b"),
        "average": NoRuleError("x.py:1", "draws", "fix"),
    }
    with pytest.raises(NoRuleError) as caught:
        first_accepted(problem_of(GIVEN), failing(**errors), nothing)
    assert caught.value.facts.startswith("draws (before it: reduce at width 0.5 was not taken: a defect of chiralize")
    assert caught.value.remedy == "fix" and "ValueError: b" in caught.value.facts
    with pytest.raises(ZeroDivisionError):
        first_accepted(problem_of(GIVEN), failing(**{**errors, "average": ZeroDivisionError()}), nothing)
    with pytest.raises(NoRuleError) as caught:
        first_accepted(problem_of(Request()), failing(average=NoRuleError("x.py:1", "draws", "fix")), nothing)
    assert "averaged: reducing needs inputs" in caught.value.facts


def test_weights_alone_say_what_was_tried() -> None:
    errors = {"reduce": DriftError("net", "reduce: rho = 3 exceeds 1.25", ""), "match": ValueError("b")}
    with pytest.raises(ExportError) as caught:
        first_accepted(problem_of(WEIGHTS), failing(**errors), nothing)
    says = "no result fits the original's class, which a file of weights alone needs: reduce at width 0.5 was not taken"
    assert caught.value.code == "CH309" and caught.value.facts.startswith(f"{says}: rho = 3 exceeds 1.25; match was")
    assert "of both views; --distill 1800 trains it nearer; or --force" in caught.value.remedy
    with pytest.raises(ExportError) as caught:
        first_accepted(problem_of(replace(WEIGHTS, rounds=0)), failing(**errors), nothing)
    assert "of both views; leave --fast out; or --force" in caught.value.remedy
    with pytest.raises(ExportError, match="reduce was not tried: it needs inputs to fit on") as caught:
        first_accepted(problem_of(replace(WEIGHTS, calibration=())), failing(**errors), nothing)
    assert "of both views; give --calibration inputs.npz; or --force" in caught.value.remedy


# ---- on networks ----------------------------------------------------------------------------------------------------
class Lifter(nn.Module):
    """Small, with a batch norm that the inputs below fit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x.flatten(1))).relu()).view_as(x)


def lifter() -> nn.Module:
    """Whose statistics are those of its inputs."""
    net = trained(Lifter())
    assert isinstance(net, Lifter)
    net.norm.momentum = None
    net.norm.reset_running_stats()
    net.train()(normal(600, 6, 2, seed=3))
    return net.eval()


def automatic(net: nn.Module, calibration: Any = None, **options: Any) -> Any:
    given = normal(600, 6, 2, seed=3) if calibration is None else calibration
    chosen = {"max_drift": 100.0, "rounds": 0, "samples": 1, "force": True, **options}
    return chiralize.chiralize(net, parse_spec(POSE), (normal(4, 6, 2),), calibration=given, **chosen)


def test_a_defect_in_reduce_ends_in_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw, in the middle of a fit; the report names it."""

    def broken(*_: object, **__: object) -> Iterator[Any]:
        raise IndexError("list index out of range")

    monkeypatch.setattr(reduce, "reductions", broken)
    own = automatic(lifter())
    report = own.chirality.report
    assert report.method == "average" and residual(own, (3, 6, 2)) <= 1e-9
    notes = [note for note in report.notes if "a defect of chiralize" in note]
    assert len(notes) == 2 and "IndexError: list index out of range" in notes[0]


@pytest.mark.thorough
def test_a_verdict_that_fails_ends_in_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be proved is never taken: the next candidate follows."""
    judge = judging.judge

    def doubtful(after: Any, passport: Any = None, **options: Any) -> Any:
        verdict = judge(after, passport, **options)
        if passport is None or passport.method != "reduce":
            return verdict
        numbers = verdict.numeric
        worst = replace(numbers.worst, residual=1.0)
        return replace(verdict, numeric=NumericVerdict((worst,), numbers.dtype, numbers.samples))

    monkeypatch.setattr(judging, "judge", doubtful)
    own = automatic(lifter())
    assert own.chirality.report.method == "average"
    assert sum("was not taken: output 0: the certificate proves" in note for note in own.chirality.report.notes) == 2


# ---- the user's own inputs ------------------------------------------------------------------------------------------
class Failing(Sequence[Tensor]):
    """A data set whose last items cannot be read the second time."""

    def __init__(self, error: Exception) -> None:
        self.error, self.reads = error, 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, place: Any) -> Any:
        self.reads += 1
        if self.reads > 100:
            self.open_record(place)
        return normal(16, 6, 2, seed=place)

    def open_record(self, place: int) -> None:
        raise self.error


@pytest.mark.one_in(3)
@pytest.mark.parametrize("error", [RuntimeError("record 7 is broken"), DataFileError("a", "b", "c"), KeyError("clip")])
@pytest.mark.parametrize("method", ["auto", "match"])
def test_errors_of_the_users_data_come_out_as_they_are(method: str, error: Exception) -> None:
    """Whenever they are raised, they are nobody's failure: the same object, with the user's own lines."""
    with pytest.raises(type(error)) as caught:
        automatic(lifter(), Failing(error), method=method)
    assert caught.value is error
    lines = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert lines[-2:] == ["__getitem__", "open_record"]


def test_errors_of_a_generator_keep_their_cause() -> None:
    def batches() -> Iterator[Tensor]:
        yield normal(16, 6, 2)
        try:
            {}["clip"]
        except KeyError as error:
            raise ValueError("no such clip") from error

    with pytest.raises(ValueError, match="no such clip") as caught:
        automatic(lifter(), batches())
    assert isinstance(caught.value.__cause__, KeyError)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "batches"


def test_an_interruption_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(reduce, "reductions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        automatic(lifter())


# ---- the headline of an average ------------------------------------------------------------------------------------
def _far() -> DriftError:
    error = DriftError("net", "reduce: rho = 2.5 exceeds --max-drift 1.25", "average")
    error.rho = 2.5
    return error


def _narrow() -> DriftError:
    error = DriftError("net", "reduce: the inputs are narrow", "more inputs")
    error.of_narrow_inputs = True
    return error


@pytest.mark.parametrize(
    ("failures", "rounds", "clause"),
    [
        ([], 0, ""),
        ([DriftError("net", "reduce: rho = 2", "average")], None, ""),
        ([DriftError("net", "reduce: rho = 2", "average")], 0, "without --fast one pass may do"),
        ([_far()], None, "one pass came no nearer to it than a rho of 2.5"),
        ([_far()], 0, "without --fast one pass may do"),
        ([_narrow()], 0, ""),
        ([NoRuleError("x.py:1", "no rule", "average")], 0, "one pass is ruled out at x.py:1"),
        ([MethodUnavailableError("--method reduce", "no hidden space", "match")], 0, ""),
        ([InternalError("x.py:1", "a slip", "report it")], None, "a defect of chiralize kept it from one pass"),
        ([DriftError("net", "reduce: rho = 2", "average"), ZeroDivisionError()], 0,
         "a defect of chiralize kept it from one pass"),
    ],
)  # fmt: skip
def test_why_two_passes(failures: list[Exception], rounds: int | None, clause: str) -> None:
    assert why_two_passes(failures, Request(rounds=rounds)) == clause


def test_statistics_are_kept_because_that_was_asked_for() -> None:
    error = AsymmetricConstantError("norm (net.py:3)", "mean would change", "leave --keep-statistics out")
    assert why_two_passes([error], Request(keep_statistics=True)) == ""
    assert why_two_passes([error], Request()) == "one pass is ruled out at norm (net.py:3)"

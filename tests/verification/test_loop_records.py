"""What returns and falls of few starts say of a converted policy, beside the original and its flip average."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chiralize.report.loop_cautions import loop_cautions
from chiralize.report.loop_words import loss_in_words
from chiralize.verification.closed_loop.records import AVERAGE, ORIGINAL, RESULT, Rollout, Side, Walker

STARTS, STEPS = 4, 200


def walker(name: str, returns: tuple[float, ...] = (5.0, 6.0, 5.5, 4.5), falls: int = 0) -> Walker:
    """The same on both sides; the first `falls` walks, taken from both sides in turns, ended early."""
    fallen = [[number * 2 + side < falls for number in range(STARTS)] for side in (0, 1)]
    ahead, mirrored = (Side(returns, (STEPS,) * STARTS, tuple(which)) for which in fallen)
    return Walker(name, ahead, mirrored, (0.1,) * STARTS, (None,) * STARTS, 0.1)


def rollout(result: Walker, original: int = 0, average: int = 0) -> Rollout:
    walkers = (walker(ORIGINAL, falls=original), walker(AVERAGE, falls=average), result)
    return Rollout("env", STEPS, "state", walkers)


@pytest.mark.parametrize(
    ("falls", "original", "average", "is_lost"),
    [(2, 0, 0, True), (1, 0, 0, False), (2, 1, 0, False), (3, 0, 2, False), (4, 1, 2, True), (0, 3, 3, False)],
)
def test_a_result_that_falls_clearly_more_often(falls: int, original: int, average: int, is_lost: bool) -> None:
    """Of eight walks two more than both others are no accident, one more may be."""
    record = rollout(walker(RESULT, falls=falls), original, average)
    assert record.falls_more == record.is_lost == is_lost
    assert (
        loss_in_words(record)
        == f"it falls in {falls} of 8 walks, the original in {original} and its flip average in {average}"
    ) == is_lost


def test_more_starts_want_more_falls() -> None:
    """A quarter of all walks."""
    many = rollout(walker(RESULT, falls=2))
    longer = [replace(each, ahead=_twice(each.ahead), mirrored=_twice(each.mirrored)) for each in many.walkers]
    assert not replace(many, walkers=(*longer[:2], replace(many.walkers[2], ahead=longer[0].ahead))).falls_more
    assert replace(many, walkers=tuple(longer)).falls_more


def _twice(side: Side) -> Side:
    return Side(side.returns * 2, side.steps * 2, side.fallen * 2)


def test_an_error_that_leaves_the_return_open() -> None:
    """A return of 0.91 ± 0.09, where the flip average has 1 ± 0; one of 0.95 ± 0.02 is enough."""
    wide = rollout(walker(RESULT, (5.0, 6.0, 5.5, 2.6)))
    assert wide.may_be_short and not wide.is_lost
    assert loss_in_words(wide).startswith(
        "it may return less than the original (4.775 ± 0.75 after 5.25 ± 0.32, 0.9095"
    )
    assert "0.9 of it is the least, and the flip average returns 1 ± 0" in loss_in_words(wide)
    assert any(caution.brief == "the result may return less than the original" for caution in loop_cautions(wide))
    assert not rollout(walker(RESULT, (4.8, 5.8, 5.3, 4.2))).may_be_short
    bad = replace(wide, walkers=(wide.original, replace(wide.walkers[2], name=AVERAGE), wide.walkers[2]))
    assert not bad.may_be_short, "nothing better is to come"

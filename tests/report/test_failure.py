"""What a report that did not pass raises."""

from __future__ import annotations

import pytest

from chiralize.errors import DegenerateError, EquivarianceError, VerdictsDisagreeError
from chiralize.report import VerifyReport, raise_for_failure
from chiralize.verification.verdicts import Judgement, OfMirror
from tests.report.test_formats import BAD, BROKEN, DEAD, FAILED, GOOD, PROOF, VERIFY


def test_passing_raises_nothing() -> None:
    raise_for_failure(VERIFY)
    VerifyReport("m", Judgement(GOOD)).raise_for_failure()


def test_not_equivariant() -> None:
    with pytest.raises(EquivarianceError) as caught:
        FAILED.raise_for_failure()
    assert str(caught.value) == (
        "EquivarianceError CH501  output 0: max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 "
        "(float32, output scale 1.2, 256 samples).\n"
        "    worst: right_elbow.x.   First node above the bound: blocks.1.bn (model.py:57): running_mean is not "
        "invariant.\n    Fix: chiralize convert makes it exact"
    )
    with pytest.raises(EquivarianceError) as caught:
        VerifyReport("m", Judgement(BAD)).raise_for_failure()
    assert "First node" not in str(caught.value)


def test_verdicts_that_disagree() -> None:
    with pytest.raises(VerdictsDisagreeError, match="running_mean is not invariant.*, but max .* = 4.4e-16"):
        VerifyReport("m", Judgement(GOOD, BROKEN)).raise_for_failure()
    with pytest.raises(VerdictsDisagreeError, match="proves all 41 ops, but max .* = 3.1e-2"):
        VerifyReport("m", Judgement(BAD, PROOF)).raise_for_failure()


def test_degenerate() -> None:
    with pytest.raises(DegenerateError, match="fell from 49.7 % to 0.0 %"):
        VerifyReport("m", Judgement(GOOD, PROOF, DEAD)).raise_for_failure()


@pytest.mark.parametrize(
    ("second", "error", "words"),
    [
        (OfMirror("front_back", BAD), EquivarianceError, r"output 0, under front_back: max .* = 3.1e-2"),
        (OfMirror("front_back", GOOD, BROKEN), VerdictsDisagreeError, r"under front_back: the certificate breaks"),
        (OfMirror("front_back", BAD, PROOF), VerdictsDisagreeError, r"under front_back: the certificate proves all 41"),
        (OfMirror("front_back", GOOD, PROOF, DEAD), DegenerateError, r"under front_back: the share of its variance"),
    ],
)
def test_every_mirror_counts(second: OfMirror, error: type[Exception], words: str) -> None:
    """Also one whose verdicts are not those in front: what the command line fails, it raises, and says of which."""
    for mirrors in ((OfMirror("left_right", GOOD, PROOF), second), (second, OfMirror("left_right", GOOD, PROOF))):
        report = VerifyReport("m", Judgement(GOOD, PROOF, mirrors=mirrors))
        assert not report.passed
        with pytest.raises(error, match=words):
            report.raise_for_failure()


def test_a_wrong_answer_comes_before_lost_sides() -> None:
    mirrors = (OfMirror("left_right", GOOD, PROOF, DEAD), OfMirror("front_back", BAD))
    with pytest.raises(EquivarianceError, match="under front_back"):
        VerifyReport("m", Judgement(BAD, PROOF, DEAD, mirrors=mirrors)).raise_for_failure()
    VerifyReport("m", Judgement(GOOD, PROOF, mirrors=(OfMirror("left_right", GOOD, PROOF),))).raise_for_failure()

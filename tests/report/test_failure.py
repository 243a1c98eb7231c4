"""What a report that did not pass raises."""

from __future__ import annotations

import pytest

from chiralize.errors import DegenerateError, EquivarianceError, VerdictsDisagreeError
from chiralize.report import VerifyReport, raise_for_failure
from chiralize.verification.verdicts import Judgement
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

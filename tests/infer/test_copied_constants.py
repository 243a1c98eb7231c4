"""Constants that forward cuts or copies before it uses them keep their names, and can be made symmetric."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import AsymmetricConstantError, ConstantsWarning
from tests.support.small_body import ROUNDING, Net, converted, normal, residual, trained, verdicts

COPIES: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "cut": lambda s, x: s.table[:, : x.size(1)],
    "cloned": lambda s, _: s.table.clone().detach(),
    "moved": lambda s, x: s.table.to(x.device, x.dtype),
    "seen otherwise": lambda s, x: s.table.view(1, x.size(1), -1).expand(1, -1, -1),
}


def numbered(copy: Callable[[Net, Tensor], Tensor]) -> nn.Module:
    """A number for every joint, added to what is known of it."""
    parts = {"first": nn.Linear(2, 16), "last": nn.Linear(16, 2)}
    return trained(Net(lambda s, x: s.last((s.first(x) + copy(s, x)).tanh()), table=normal(1, 6, 16, seed=4), **parts))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_it_goes_by_its_own_name(copy: Callable[[Net, Tensor], Tensor]) -> None:
    with pytest.raises(AsymmetricConstantError, match=r"constant table \(1, 6, 16\)(.|\n)*--symmetrize-constants"):
        converted(numbered(copy))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_it_is_made_symmetric_where_that_is_asked_for(copy: Callable[[Net, Tensor], Tensor]) -> None:
    with pytest.warns(ConstantsWarning, match=r"^constants were changed: table \("):
        found = converted(numbered(copy), symmetrize_constants=True)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)
    assert not torch.equal(found.get_buffer("table"), numbered(copy).get_buffer("table"))


def test_what_is_computed_from_it_is_another_constant() -> None:
    with pytest.raises(
        AsymmetricConstantError,
        match=r"constant computed in forward of table .*(.|\n)*make what forward computes it from",
    ):
        converted(numbered(lambda s, _: s.table * 2), symmetrize_constants=True)

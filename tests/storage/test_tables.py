"""Tables of weights and the prefixes under which they are those of a network."""

from __future__ import annotations

import torch

from chiralize.storage.tables import Weights, fit_under, fits

EXPECTED = {"first.weight": torch.zeros(3, 2)}
TABLE = Weights("", {"model.first.weight": torch.zeros(3, 2), "model.std": torch.zeros(3)})


def test_idle_names_are_full_ones_whoever_names_the_prefix() -> None:
    """What only training needs is left aside under a prefix that was found, and under one that was given."""
    (way,) = fits(TABLE, EXPECTED, ["model.std"])
    assert way == fit_under(TABLE, "model.", EXPECTED, ["model.std"]) and way.aside == ("model.std",)
    assert fits(TABLE, EXPECTED, ["std"]) == []
    assert set(fit_under(TABLE, "model.", EXPECTED, ["std"]).names) == {"first.weight", "std"}

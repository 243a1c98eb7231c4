"""One thread and one seed for every test: what a test says must not depend on the tests before it."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Random numbers that are the same in every run."""
    torch.manual_seed(0)

"""One thread and one seed for every test: what a test says must not depend on the tests before it."""

from __future__ import annotations

import hypothesis
import pytest
import torch

torch.set_num_threads(1)
# The same examples in every run, and no clock: other work on the machine must not fail a test.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def seed() -> None:
    """Random numbers that are the same in every run."""
    torch.manual_seed(0)

"""Networks run without any mode once a run has shown that they need none, and nothing of the process changes by it."""

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from chiralize.graph.running import Runner

LOG: list[int] = []
"""The modes that were on in each run: a network is brought back to how it was, and so cannot keep them."""
X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


class Watched(nn.Module):
    """Counts the modes that are on while it runs; subclasses say what else it does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        LOG.append(len(_get_current_function_mode_stack()) + len(_get_current_dispatch_mode_stack()))
        return self.layer(x)


class Noisy(Watched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.randn(4)


class NoisyAtTimes(Watched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 1:
            x = x + torch.rand_like(x)
        return super().forward(x)


class AsksForTheGpu(Watched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.cuda())


class MakesNumbers(Watched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * torch.tensor([0.1]) + torch.full((4,), 0.1)


def test_a_plain_network_is_run_bare_after_its_first_run() -> None:
    LOG.clear()
    with Runner(Watched()) as runner:
        first, second = (runner.run([((X.float(),), {})]).steps[0] for _ in range(2))
    assert LOG[0] > 0, "the first run looks at what the network does"
    assert LOG[1:] == [0, 0], "its answer and the next are made without modes"
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", [Noisy, AsksForTheGpu])
def test_a_network_that_needs_a_mode_keeps_it(kind: type[Watched]) -> None:
    LOG.clear()
    with Runner(kind()) as runner:
        first, second = (runner.run([((X.float(),), {})]).steps[0] for _ in range(2))
    assert len(LOG) == 2
    assert min(LOG) > 0
    assert torch.equal(first, second)


def test_a_run_that_draws_for_the_first_time_is_made_again() -> None:
    """The generator of the process is as before, and the answer comes from numbers of the run's own."""
    before = torch.get_rng_state()
    quiet, noisy = [((X.float(),), {})], [((X.float() + 1,), {})]
    with Runner(NoisyAtTimes()) as runner:
        runner.run(quiet)
        answers = [runner.run(noisy).steps[0] for _ in range(2)]
        torch.manual_seed(1)
        answers.append(runner.run(noisy).steps[0])
    torch.set_rng_state(before)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_the_generator_of_the_process_is_put_back() -> None:
    with Runner(NoisyAtTimes()) as runner:
        runner.run([((X.float(),), {})])
        before = torch.get_rng_state()
        runner.run([((X.float() + 1,), {})])
        assert torch.equal(before, torch.get_rng_state())


def test_numbers_that_a_network_makes_are_float64_in_every_run() -> None:
    network = MakesNumbers().double()
    with Runner(network, double=True) as runner:
        answers = [runner.run([((X,), {})]).steps[0] for _ in range(3)]
    expected = network.layer(X) * 0.1 + 0.1
    for answer in answers:
        torch.testing.assert_close(answer, expected, rtol=0, atol=1e-15)

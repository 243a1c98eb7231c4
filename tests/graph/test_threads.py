"""Conversions in several threads, and what threads that convert nothing notice of them: nothing."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table

from chiralize import chiralize, verify
from chiralize.graph.isolation import Isolated, exclusive
from chiralize.graph.running import Runner
from chiralize.graph.silence import quiet
from chiralize.graph.while_capturing import recurrent_shapes, unchecked_distributions
from chiralize.storage import onnx_export

BODY = {
    "joints": ["hip", "left", "right"], "pairs": [["left", "right"]],
    "inputs": [{"layout": "b (j d)"}], "outputs": [{"layout": "b (j d)"}],
}  # fmt: skip


class Scaled(nn.Module):
    """Makes tensors of the default dtype in forward; export refuses its branch, so that it is traced too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(9, 16), nn.Linear(16, 9)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x)) @ torch.eye(16)
        if torch.ones(1).sum() > 0:
            h = h + torch.zeros(16) + torch.arange(16) / 16
        return self.last(h * torch.tensor([0.1]))


class Noisy(nn.Module):
    """Draws in eval mode, by all ways that there are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.dropout(self.layer(x)) + torch.rand(9) + torch.randn_like(x)
        return x + torch.empty(9).uniform_() + torch.bernoulli(torch.full((9,), 0.5)) + torch.randperm(9)


@contextmanager
def in_another_thread(loop: Callable[[], object]) -> Iterator[None]:
    """Calls the function again and again in a thread; what it raises is raised at the end."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            loop()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            yield
        finally:
            done.set()
        future.result()


@pytest.mark.thorough
def test_two_conversions_at_once() -> None:
    torch.manual_seed(0)
    nets, x = [Scaled().eval() for _ in range(2)], torch.randn(2, 9)
    dtypes: set[torch.dtype] = set()

    def converted(net: nn.Module) -> tuple[Tensor, bool]:
        chiral = chiralize(net, BODY, (x,), method="average", samples=1)
        return chiral(x), verify(chiral, BODY, (x,), samples=1).passed

    with in_another_thread(lambda: dtypes.add(torch.empty(1).dtype)), ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(converted, nets))
    assert dtypes == {torch.float32}
    turn = torch.tensor([-1.0, 1, 1]).repeat(3)
    swap = [0, 1, 2, 6, 7, 8, 3, 4, 5]
    for net, (answer, passed) in zip(nets, answers, strict=True):
        both = (net(x) + (net(x[:, swap] * turn) * turn)[:, swap]) / 2
        torch.testing.assert_close(answer, both, rtol=0, atol=1e-6)
        assert passed


def _shared() -> list[object]:
    """What the contexts below change for all threads."""
    op = torch.ops.aten.lstm.input
    return [decomposition_table[op], dict(op.py_kernels), torch.distributions.Distribution._validate_args]


@pytest.mark.parametrize("context", [recurrent_shapes, unchecked_distributions])
def test_what_changes_torch_for_all_threads_takes_turns(
    context: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that overlap, the first would end in the second, which would then put back what the first had changed."""
    # torch.compile turns the checks off for good, in whatever test it was called.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)
    before, inside = _shared(), threading.Event()

    def enter() -> None:
        with context():
            inside.set()

    with ThreadPoolExecutor(1) as pool:
        with context(), context():  # one thread may enter twice
            future = pool.submit(enter)
            assert not inside.wait(0.2)
            assert _shared() != before
        future.result(5)
    assert inside.is_set() and _shared() == before


def test_writing_onnx_takes_turns_with_conversions(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = threading.Event()

    def export(*args: object, **kwargs: object) -> object:
        inside.set()
        raise ValueError("as far as this")

    monkeypatch.setattr(torch.onnx, "export", export)
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))

    @exclusive
    def convert(pool: ThreadPoolExecutor) -> Future[object]:
        future = pool.submit(onnx_export._translated, program, ["y"], True)
        assert not inside.wait(0.2)
        return future

    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="as far as this"):
        convert(pool).result(5)


@pytest.mark.parametrize("double", [False, True])
def test_random_numbers_of_another_thread(double: bool) -> None:
    """They are those that follow from the seed, each of them once."""
    x, net, drawn = torch.randn(2, 9), Noisy().eval(), list[float]()
    torch.manual_seed(7)
    with in_another_thread(lambda: drawn.append(float(torch.rand(())))), Runner(net, double=double) as runner:
        for _ in range(20):
            runner.run([((x,), {})])
    follows = torch.Generator().manual_seed(7)
    assert drawn == [float(torch.rand((), generator=follows)) for _ in drawn]


def test_draws_repeat() -> None:
    x, net = torch.randn(2, 9), Noisy().eval()
    with Runner(net) as runner:
        (first,), (again,) = (runner.run([((x,), {})]).steps for _ in range(2))
    assert torch.equal(first, again)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        plain = torch.nn.functional.dropout(torch.ones(100))
    with Isolated(seed=0):
        assert torch.equal(torch.nn.functional.dropout(torch.ones(100)), plain)
        other = torch.nn.functional.dropout(torch.ones(100))
    assert not torch.equal(other, plain)


MAKERS: dict[str, Callable[[], Tensor]] = {
    "zeros": lambda: torch.zeros(2), "full": lambda: torch.full((2,), 0.1), "numbers": lambda: torch.tensor([0.1]),
    "a number": lambda: torch.tensor(0.1), "as_tensor": lambda: torch.as_tensor([0.1]),
    "constructor": lambda: torch.Tensor([0.5]), "linspace": lambda: torch.linspace(0, 1, 4),
    "range": lambda: torch.arange(0, 1, 0.1), "ratio": lambda: torch.arange(3) / 3,
    "root": lambda: torch.arange(3).sqrt(),
    "product": lambda: torch.arange(3) * 0.1, "window": lambda: torch.hann_window(5), "eye": lambda: torch.eye(2),
    "choice": lambda: torch.where(torch.arange(3) > 1, 1.0, 0.5), "complex": lambda: torch.tensor([1j]),
    "frequencies": lambda: torch.fft.fftfreq(5), "onto": lambda: torch.arange(3).float().new_tensor([0.1]),
    "said": lambda: torch.zeros(2, dtype=torch.float32),
    "numbers, said": lambda: torch.tensor([0.1], dtype=torch.float32),
    "cast": lambda: torch.arange(3).float(), "whole": lambda: torch.arange(3),
    "whole, full": lambda: torch.full((2,), 3),
    "half": lambda: torch.zeros(2, dtype=torch.float16), "mixed": lambda: torch.zeros(2) + torch.arange(2) / 2,
    "beside a tensor": lambda: torch.ones(2) * 0.1,
}  # fmt: skip


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_default_dtype_of_a_run(make: Callable[[], Tensor]) -> None:
    """What a network makes in float64 is what it would make if that was the default of the process."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        expected = make()
    finally:
        torch.set_default_dtype(before)
    with Isolated(double=True):
        result = make()
        assert torch.get_default_dtype() == before
    assert result.dtype == expected.dtype and torch.equal(result, expected)


def test_the_default_dtype_of_torchscript() -> None:
    class Makes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.eye(9) + torch.zeros(9) + torch.arange(9) / 3

    x = torch.randn(2, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net = torch.jit.script(Makes())
    with Runner(net, double=True) as runner:
        (answer,) = runner.run([((x,), {})]).steps
    assert torch.equal(answer, x.double() + torch.arange(9).double() / 3)


def test_others_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread that is silenced nothing of torch is logged, warned of or printed; in all others all is."""
    written, log, records = io.StringIO(), logging.getLogger("torch.export"), io.StringIO()
    monkeypatch.setattr(log, "handlers", [logging.StreamHandler(records)])
    monkeypatch.setattr(log, "disabled", False)
    level = log.level
    log.setLevel(logging.WARNING)  # an earlier test may have had torch set its loggers up
    monkeypatch.setattr(sys, "stderr", written)

    def speak(who: str) -> None:
        log.warning("logged by %s", who)
        warnings.warn(f"warned by {who}", UserWarning, stacklevel=1)
        print("printed by", who, file=sys.stderr)

    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with quiet():
            with quiet():
                speak("us")
            speak("us")
            pool.submit(speak, "another").result()
        assert sys.stderr is written and list(warnings.filters) == filters
        speak("us, later")
    log.setLevel(level)
    assert [str(own.message) for own in seen] == ["warned by another", "warned by us, later"]
    assert records.getvalue() == "logged by another\nlogged by us, later\n"
    assert written.getvalue() == "printed by another\nprinted by us, later\n"


@pytest.mark.parametrize("name", ["", "torch"])
def test_handlers_that_come_later_are_silenced_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter of logs stays while a conversion runs: it silences nobody, finds new handlers, and goes at the end."""
    heard, first, later = logging.getLogger(name), io.StringIO(), io.StringIO()
    log = logging.getLogger("torch.chiralize_test")
    monkeypatch.setattr(logging.getLogger("torch"), "propagate", True)
    monkeypatch.setattr(log, "disabled", False)
    log.setLevel(logging.WARNING)  # whatever level an earlier test has left at its parents
    monkeypatch.setattr(heard, "handlers", [logging.StreamHandler(first)])

    @exclusive
    def convert() -> None:
        with quiet():
            log.error("not heard")
        log.error("heard")
        heard.addHandler(logging.StreamHandler(later))
        with quiet():
            log.error("not heard")

    convert()
    log.error("heard later")
    assert first.getvalue() == "heard\nheard later\n" and later.getvalue() == "heard later\n"
    assert not any(handler.filters for handler in heard.handlers)

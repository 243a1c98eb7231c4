"""One thread per worker: two workers on two cores, and their subprocesses, must not fight for them.

Exports make many objects and little garbage, so that the collector looks less often. Each network is exported once or
twice, for which filling torch's cache of shapes costs more than it saves.
"""

from __future__ import annotations

import gc
import os
from collections import Counter

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TORCH_FAKE_TENSOR_DISPATCH_CACHE"] = "0"
os.environ["CHIRALIZE_TIMINGS"] = "off"  # forms are chosen alike on every machine

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
gc.set_threshold(100_000, 20, 20)
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--thorough` runs everything; without it, long families of cases are sampled."""
    parser.addoption("--thorough", action="store_true", help="every case: those of `one_in` and `thorough` as well")


def pytest_configure(config: pytest.Config) -> None:
    """Say what our marks mean."""
    config.addinivalue_line("markers", "one_in(n): of the cases of a test, the first, the n-th after it, and so on")
    config.addinivalue_line("markers", "thorough: what it finds is mostly found by quicker tests, too")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `--thorough` runs. A test that is asked for by its full name runs."""
    if config.getoption("--thorough"):
        return
    cases_before = Counter[str]()
    chosen = list[pytest.Item]()
    left_out = list[pytest.Item]()
    for item in items:
        family = item.nodeid.split("[")[0]
        number = cases_before[family]
        cases_before[family] += 1
        sampled = item.get_closest_marker("one_in")
        is_chosen = item.get_closest_marker("thorough") is None and (sampled is None or number % sampled.args[0] == 0)
        by_name = any(item.nodeid.endswith(word.split("/")[-1]) for word in config.args if "::" in word)
        (chosen if is_chosen or by_name else left_out).append(item)
    items[:] = chosen
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(params=["in memory", "on disk"])
def checked_copy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the checked copy of an archive lies: of a small one in memory, of a large one on the disk."""
    if request.param == "on disk":
        monkeypatch.setattr("chiralize.storage.archive.IN_MEMORY", 0)
    return request.param


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs speak after five seconds: on a busy machine, of work that is silent on another one."""
    monkeypatch.setattr("chiralize.commands.progress.PATIENCE", 1e6)


_ASKED_OF_NOTHING = ("graph", "infer", "methods", "nn")
"""Folders whose networks are untrained, so that no built-in poses fit them."""


@pytest.fixture(autouse=True)
def few_other_mirrors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of these folders are asked about fewer other mirrors: on noise, of which they learn nothing there."""
    if request.path.parent.name in _ASKED_OF_NOTHING:
        monkeypatch.setattr("chiralize.verification.mirror_evidence._NOISE_MIRRORS", 3)


@pytest.fixture(autouse=True)
def without_built_in_poses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of these folders are not asked whether poses fit, which is known of them; all others are.

    Asking runs a network some thirty times in every conversion without inputs.
    """
    if request.path.parent.name in _ASKED_OF_NOTHING:
        monkeypatch.setattr("chiralize.problem.data.drawn.built_in", _none_fit)


def _none_fit(network: object) -> None:
    from chiralize.problem.poses.filling import UnfitError

    raise UnfitError("no network of these tests was trained on poses")

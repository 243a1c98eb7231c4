"""One thread per worker: two workers on two cores, and their subprocesses, must not fight for them.

Exports make many objects and little garbage, so that the collector looks less often. Each network is exported once or
twice, for which filling torch's cache of shapes costs more than it saves; exports to ONNX parse onnxscript's functions
once. Compiled modules are written also where the environment says not to: each of some fifty processes would compile
the package anew.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TORCH_FAKE_TENSOR_DISPATCH_CACHE"] = "0"
sys.dont_write_bytecode = os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is None and sys.dont_write_bytecode
os.environ["CHIRALIZE_TIMINGS"] = "off"  # forms are chosen alike on every machine

for finder in sys.meta_path:
    # The package has a pytest plugin, so that pytest would compile all of it anew for the sake of its assertions.
    getattr(finder, "_must_rewrite", set()).discard("chiralize")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
import typer.main  # noqa: E402

torch.set_num_threads(1)
gc.set_threshold(400_000, 20, 20)
hypothesis.settings.register_profile("thorough", deadline=None, derandomize=True)
hypothesis.settings.register_profile("sampled", parent=hypothesis.settings.get_profile("thorough"), max_examples=12)


def _parse_operators_once() -> None:
    """torch.onnx parses the 500 functions of onnxscript for every export anew, which takes a second."""
    with suppress(ImportError):
        from torch.onnx._internal._lazy_import import onnxscript_apis

        listed = cache(lambda: importlib.import_module(onnxscript_apis._name).get_torchlib_ops())
        onnxscript_apis.get_torchlib_ops = listed  # type: ignore[attr-defined]


def _fill_registry_once() -> None:
    """torch.onnx asks for the parameters of all these functions for every export anew."""
    with suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter import _constants
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        full = cache(ONNXRegistry.from_torchlib)

        def copied(opset_version: int = _constants.TORCHLIB_OPSET) -> ONNXRegistry:
            """A registry for one export, which may add to it."""
            registry = ONNXRegistry()
            registry._opset_version = opset_version
            registry.functions = {name: [*functions] for name, functions in full(opset_version).functions.items()}
            return registry

        ONNXRegistry.from_torchlib = staticmethod(copied)  # type: ignore[method-assign, assignment]


def _list_operators_once() -> None:
    """torch.export looks through the names of all operators in C++ whenever it takes a program apart, to make those
    that Python has not seen yet.
    """
    from torch._export import utils

    utils._materialize_cpp_cia_ops = cache(utils._materialize_cpp_cia_ops)


class _Forward:
    """The calls within forward, in place of `CapturedTraceback`, which writes down all of some hundred and leaves those
    before forward out: they are pytest's, and take longer than the op.
    """

    def __init__(self, calls: list[traceback.FrameSummary]) -> None:
        self.calls = calls

    @classmethod
    def extract(cls) -> _Forward:
        """The calls that lead from the outermost forward to who asks."""
        calls, length = list[traceback.FrameSummary](), 0
        frame = sys._getframe(1)
        while frame is not None and f"{os.sep}_pytest{os.sep}" not in frame.f_code.co_filename:
            code = frame.f_code
            calls.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name, lookup_line=False))
            if code.co_name == "forward":
                length = len(calls)
            frame = frame.f_back
        return cls(calls[:length])

    def summary(self) -> traceback.StackSummary:
        """The outermost first."""
        return traceback.StackSummary.from_list(self.calls[::-1])


_parse_operators_once()
_fill_registry_once()
_list_operators_once()
torch.fx.proxy.CapturedTraceback = _Forward  # type: ignore[attr-defined]
typer.main.get_command = cache(typer.main.get_command)  # all commands with all options, built anew for every call


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--thorough` runs everything; without it, long families of cases are sampled."""
    parser.addoption("--thorough", action="store_true", help="every case: those of `one_in` and `thorough` as well")


def pytest_configure(config: pytest.Config) -> None:
    """Say what our marks mean, and how many examples hypothesis draws."""
    hypothesis.settings.load_profile("thorough" if config.getoption("--thorough") else "sampled")
    config.addinivalue_line(
        "markers", "one_in(n): of a test's cases every n-th, and each value of a parameter that has few"
    )
    config.addinivalue_line("markers", "thorough: what it finds is mostly found by quicker tests, too")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `--thorough` runs. A test that is asked for by its full name runs."""
    if config.getoption("--thorough"):
        return
    families = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        families[item.nodeid.split("[")[0]].append(item)
    sampled = {item for cases in families.values() for item in _sample(cases)}
    named = tuple(word.split("/")[-1] for word in config.args if "::" in word)
    left_out = [item for item in items if item not in sampled and not item.nodeid.endswith(named)]
    sampled = {*items} - {*left_out}
    items[:] = [item for item in items if item in sampled]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not look at it again and again."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Whatever cannot be collected without an error shows now; pytest and Python would look at it all three times."""
    gc.collect()
    gc.freeze()


def _sample(cases: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Those of a test's cases that run by default.

    One in n, and each value of a parameter with up to four values, in whatever order the parameters are combined.
    """
    cases = [case for case in cases if case.get_closest_marker("thorough") is None]
    marked = cases[0].get_closest_marker("one_in") if cases else None
    if marked is None:
        return set(cases)
    step = marked.args[0]
    sampled = set(cases[::step])
    seen = set[tuple[str, int]]().union(*map(_values, sampled))
    counts = Counter(name for name, _ in set().union(*map(_values, cases)))
    for case in cases:
        new = {(name, value) for name, value in _values(case) - seen if counts[name] <= min(4, len(cases) / 2)}
        if new:
            sampled.add(case)
            seen |= _values(case)
    return sampled


def _values(case: pytest.Item) -> set[tuple[str, int]]:
    """A case's parameters, each with the identity of its value; cases of a combination share the values."""
    spec = getattr(case, "callspec", None)
    return {(name, id(value)) for name, value in spec.params.items()} if spec is not None else set()


@pytest.fixture(params=["in memory", "on disk"])
def checked_copy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the checked copy of an archive lies: of a small one in memory, of a large one on the disk."""
    if request.param == "on disk":
        monkeypatch.setattr("chiralize.storage.archive.IN_MEMORY", 0)
    return request.param


@pytest.fixture(scope="module")
def for_the_file() -> Iterator[pytest.MonkeyPatch]:
    """Changes that all tests of a file see, made once."""
    with pytest.MonkeyPatch.context() as changes:
        yield changes


@pytest.fixture(autouse=True, scope="module")
def patient(for_the_file: pytest.MonkeyPatch) -> None:
    """Logs speak after five seconds: on a busy machine, of work that is silent on another one."""
    for_the_file.setattr("chiralize.commands.progress.PATIENCE", 1e6)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Every test draws the same random numbers, whichever tests ran before it in its worker.

    Of the CPU: `torch.manual_seed` notes down a traceback for every kind of device that is not there.
    """
    torch.default_generator.manual_seed(0)


_ASKED_OF_NOTHING = ("graph", "infer", "methods", "nn")
"""Folders whose networks are untrained, so that no built-in poses fit them and noise says nothing of their mirror."""
_ASKED_ONLY_WITH_THOROUGH = ("cli", "commands", "problem", "storage", "support", "verification")
_ASKS = ("test_data_free.py", "test_evidence.py")


def _learns_nothing(request: pytest.FixtureRequest) -> bool:
    """Whether a test's networks need not be asked what nothing is learnt from there."""
    folders = _ASKED_OF_NOTHING
    if not request.config.getoption("--thorough"):
        folders += _ASKED_ONLY_WITH_THOROUGH
    return request.path.parent.name in folders and request.path.name not in _ASKS


@pytest.fixture(autouse=True, scope="module")
def few_other_mirrors(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """Networks are asked about fewer other mirrors where they are shown noise, of which they learn nothing there."""
    if _learns_nothing(request):
        for_the_file.setattr("chiralize.verification.mirror_evidence._NOISE_MIRRORS", 3)


@pytest.fixture(autouse=True, scope="module")
def few_corrections(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """After every change of a specification the best 2 are gone on from, not 8, and the third change is the last.

    Not in the tests of that search.
    """
    if request.path.name != "test_corrections.py" and not request.config.getoption("--thorough"):
        for_the_file.setattr("chiralize.verification.corrections._WIDTH", 2)
        for_the_file.setattr("chiralize.verification.corrections.MOST_CHANGES", 3)


@pytest.fixture(autouse=True, scope="module")
def few_rounds(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """Networks get one of the twelve rounds of Gauss-Newton unasked, or few steps, but for the tests of these.

    Where inputs and mirrors are asked about they get none.
    """
    of_these = request.path.name in ("test_gauss_newton.py", "test_descent.py")
    if not of_these and not request.config.getoption("--thorough"):
        rounds = int(request.path.parent.name not in ("problem", "verification"))
        for_the_file.setattr("chiralize.methods.refine.budget._ROUNDS", rounds)
        for_the_file.setattr("chiralize.methods.refine.budget._MOST_STEPS", 20)


@pytest.fixture(autouse=True, scope="module")
def few_batches(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """Inputs are fitted in 10 batches of the same samples where users have 25: a run costs more than its samples."""
    folders = ("cli", "commands", "infer", "methods", "nn", "pages", "problem", "report", "storage", "verification")
    if request.path.parent.name in folders and not request.config.getoption("--thorough"):
        for_the_file.setattr("chiralize.problem.data.cutting._BATCHES", 10)


@pytest.fixture(autouse=True, scope="module")
def few_inputs(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """Verdicts take 4 random inputs where users get 8, the unit is asked of 16 samples, not of 64, and a result is
    judged on 200 inputs of other kinds, not on 1,000. Not in the tests of these.
    """
    of_these = request.path.name in ("test_cost.py", "test_units.py", *_ASKS)
    if of_these or request.config.getoption("--thorough"):
        return
    for_the_file.setattr("chiralize.problem.data.units._MOST", 16)
    if request.path.parent.name not in ("symmetry", "verification"):
        for_the_file.setattr("chiralize.problem.cost._DRAWS", 4)
        for_the_file.setattr("chiralize.verification.beyond.SAMPLES", 200)


@pytest.fixture(autouse=True, scope="module")
def without_built_in_poses(request: pytest.FixtureRequest, for_the_file: pytest.MonkeyPatch) -> None:
    """Networks are not asked whether poses fit, which runs them thirty times in conversions without inputs."""
    if _learns_nothing(request):
        for_the_file.setattr("chiralize.problem.data.drawn.built_in", _none_fit)


def _none_fit(network: object) -> None:
    from chiralize.problem.poses.filling import UnfitError

    raise UnfitError("no network of these tests was trained on poses")

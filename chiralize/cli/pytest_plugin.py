"""pytest plugin: `assert_equivariant`, so that a project verifies its converted models in CI.

    def test_lifter(assert_equivariant):
        assert_equivariant("models/chiral.pt2")
        assert_equivariant(my_module, "h36m", example_inputs=(x,))

`--chiralize-report=FOLDER` keeps the full report of every check as HTML.
"""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chiralize.errors.words import when

if TYPE_CHECKING:
    from chiralize.report import VerifyReport


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of this plugin."""
    group = parser.getgroup("chiralize")
    group.addoption("--chiralize-report", metavar="FOLDER", help="keep an HTML report of every assert_equivariant here")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder for reports. Raises pytest.UsageError where that cannot be done."""
    folder = config.getoption("--chiralize-report")
    if folder:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(f"--chiralize-report={folder}: {error.strerror}; name a folder") from None


@pytest.fixture
def assert_equivariant(request: pytest.FixtureRequest) -> Callable[..., VerifyReport]:
    """A function that fails the test where a model is not equivariant.

    Call it with a module and the arguments of `chiralize.verify`, or with the path of a graph (.pt2, TorchScript,
    .onnx), then with `samples`, `tolerance`, and as `spec` at most the name or the file of a skeleton. It fails with
    the worst output and the first place where the proof breaks, and returns the report.
    """
    folder = request.config.getoption("--chiralize-report")
    numbers = itertools.count()

    def check(model: Any, spec: Any = None, **options: Any) -> VerifyReport:
        """The report on a model, written to the folder if there is one; fails the test where a verdict fails."""
        from chiralize.errors import VerificationError

        with _without_torch_log(), _warnings_at_the_test():
            report = _report(model, spec, options)
        if folder:
            number = next(numbers)
            suffix = when(number, f"-{number}")
            _write(report, Path(folder), f"{request.node.nodeid}{suffix}")
        failure = ""
        try:
            report.raise_for_failure()
        except VerificationError as error:
            failure = str(error)
        if failure:  # after the handler: pytest prints the error that is being handled as well
            pytest.fail(failure, pytrace=False)
        return report

    return check


@contextmanager
def _without_torch_log() -> Iterator[None]:
    """Leave out what torch logs below warnings while it captures: pytest prints all records of a failing test."""
    # The handlers of pytest, on whichever logger; a filter on torch's logger would not see records of those below it.
    handlers = set(logging.root.handlers)
    for name in logging.root.manager.loggerDict:
        handlers |= set(logging.getLogger(name).handlers)
    shown = [handler for handler in handlers if type(handler).__module__ == "_pytest.logging"]
    for handler in shown:
        handler.addFilter(matters)
    try:
        yield
    finally:
        for handler in shown:
            handler.removeFilter(matters)


def matters(record: logging.LogRecord) -> bool:
    """Whether a log record is more than torch telling what it does."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] != "torch"


@contextmanager
def _warnings_at_the_test() -> Iterator[None]:
    """Let our warnings name the line of the test, not one of this file; all others stay where they are."""
    from chiralize.errors import ChiralizeWarning

    with warnings.catch_warnings(record=True) as caught:
        yield
    for warning in caught:
        if issubclass(warning.category, ChiralizeWarning):
            warnings.warn(warning.message, stacklevel=4)  # contextlib, the check, the test
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _report(model: Any, spec: Any, options: dict[str, Any]) -> VerifyReport:
    """Both verdicts: of a module as `chiralize.verify` gives them, of a path as `chiralize verify` does."""
    if not isinstance(model, (str, Path)):
        from chiralize import verify

        return verify(model, spec, **options)
    from chiralize.cli.opening import open_network
    from chiralize.cli.options import NetworkOptions
    from chiralize.commands.verify import verify as verify_subject

    skeleton = None if spec is None else str(spec)
    network, loaded, passport = open_network(NetworkOptions(Path(model), skeleton), onnx=True)
    return verify_subject(network, loaded.source.name, passport, **options)


def _write(report: VerifyReport, folder: Path, test: str) -> None:
    """Write the page of a report, under the name of its test and its model. Raises OutputFileError."""
    from chiralize.report import to_html
    from chiralize.storage.atomic import write_text

    name = re.sub(r"[^\w.-]+", "_", f"{test}-{report.model}")
    write_text(folder / f"{name}.html", to_html(report))

"""The plugin, run by pytest on a project of its own."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import chiralize
from chiralize.cli.pytest_plugin import matters

pytest_plugins = ["pytester"]

PROJECT = """
    import torch
    from chiralize import chiralize

    BODY = {"joints": ["head", "l_hand", "r_hand"], "pairs": [["l_hand", "r_hand"]], "dims": ["x", "y"],
            "inputs": [{"layout": "b (j d)"}], "outputs": [{"layout": "b (j d)"}]}

    def net():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 6))

    X = (torch.zeros(1, 6),)

    def test_converted(assert_equivariant):
        chiral = chiralize(net(), BODY, X, method="project", samples=1)
        assert assert_equivariant(chiral, example_inputs=X).passed
        assert_equivariant(chiral, example_inputs=X)

    def test_original(assert_equivariant):
        assert_equivariant(net(), BODY, example_inputs=X)
"""


SAME_NAMES = """
    import torch

    class Turning(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    def test_net(assert_equivariant):
        body = {"joints": ["head", "l_hand", "r_hand"], "pairs": [["l_hand", "r_hand"]], "dims": ["x", "y"],
                "inputs": [{"layout": "b j d"}], "outputs": [{"layout": "b j d"}]}
        assert_equivariant(Turning(), body, example_inputs=(torch.zeros(1, 3, 2),))
"""


WITHOUT_OTHERS = ("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:timeout")
"""Plugins that start slowly and have nothing to do here."""


def test_a_folder_that_cannot_be(pytester: pytest.Pytester) -> None:
    Path(pytester.path, "file").write_text("")
    result = pytester.runpytest_subprocess(*WITHOUT_OTHERS, "--chiralize-report=file")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --chiralize-report=file: File exists; name a folder"])


def test_converted_passes_and_original_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And every check has its own page, also in tests of one name in two files.

    In this process, and not by pytester: that forgets which modules were imported, and torch's cannot be twice.
    """
    Path(tmp_path, "test_project.py").write_text(textwrap.dedent(PROJECT))
    for place in ("a", "b"):
        Path(tmp_path, place).mkdir()
        Path(tmp_path, place, "test_it.py").write_text(textwrap.dedent(SAME_NAMES))
    monkeypatch.chdir(tmp_path)
    options = ["--rootdir=.", "-W", "ignore", "--import-mode=importlib", "--chiralize-report=pages/here"]
    status = pytest.main([*WITHOUT_OTHERS, *options])
    written = capsys.readouterr().out
    assert status == pytest.ExitCode.TESTS_FAILED and "1 failed, 3 passed" in written, written
    text = written.partition("short test summary")[0]
    assert "max |F(Tx) - T F(x)|" in text
    assert text.count("EquivarianceError CH501") == 1 and "another exception" not in text
    assert "torch.__trace" not in text and "Captured log" not in text
    pages = sorted(path.name for path in Path("pages/here").iterdir())
    assert len(pages) == 5 and all(page.endswith(".html") for page in pages)
    assert pages[:2] == [f"{place}_test_it.py_test_net-Turning.html" for place in ("a", "b")]


class Even(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_warnings_name_the_line_of_the_test(assert_equivariant: Callable[..., object]) -> None:
    """Ours; those of others stay where they are."""
    named_wrongly = {
        "joints": ["head", "left_hand", "right_hand"],
        "pairs": [],
        "dims": ["x", "y"],
        "negate": ["x"],
        "outputs": [{"layout": "b j d"}],
    }
    with pytest.warns(chiralize.MirrorWarning, match="left_hand") as caught:
        assert_equivariant(Even(), named_wrongly, example_inputs=(torch.zeros(1, 3, 2),))
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("name", "level", "shown"),
    [("torch.__trace", "DEBUG", False), ("torch.__trace", "WARNING", True), ("torchvision", "DEBUG", True)],
)
def test_which_records_a_failing_test_prints(name: str, level: str, shown: bool) -> None:
    record = logging.makeLogRecord({"name": name, "levelno": logging.getLevelName(level)})
    assert matters(record) == shown

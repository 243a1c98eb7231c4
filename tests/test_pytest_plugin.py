"""The plugin, run by pytest on a project of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
    import torch
    from chiralize import chiralize

    def net():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(34, 4), torch.nn.Tanh(), torch.nn.Linear(4, 51),
                                   torch.nn.Unflatten(1, (17, 3)))

    X = (torch.zeros(1, 17, 2),)

    def test_converted(assert_equivariant):
        report = assert_equivariant(chiralize(net(), "h36m", X, method="project", samples=1), example_inputs=X)
        assert report.passed
        assert_equivariant(chiralize(net(), "h36m", X, method="lift", samples=1), example_inputs=X)

    def test_original(assert_equivariant):
        assert_equivariant(net(), "h36m", example_inputs=X)
"""


def test_converted_passes_and_original_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROJECT)
    # Not in this process: pytester would forget the modules it imported, and torch cannot be imported twice.
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-W", "ignore", "--chiralize-report=reports")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*EquivarianceError CH501*max |F(Tx) - T F(x)|*"])
    pages = sorted(path.name for path in Path(pytester.path, "reports").iterdir())
    assert len(pages) == 3 and all(page.endswith(".html") for page in pages)

"""Remedies that name an option of another command say which command."""

from __future__ import annotations

import pytest

from chiralize.cli.app import app
from chiralize.cli.elsewhere import name_the_command
from chiralize.errors import CaptureError


@pytest.mark.parametrize(
    ("words", "remedy", "wanted"),
    [
        (["audit", "net.pt2"], "use --method average", "use chiralize convert --method average"),
        (["verify"], "--align kernel keeps all sizes", "chiralize convert --align kernel keeps all sizes"),
        (["audit"], "give --calibration, or --input-shape", "give --calibration, or --input-shape"),
        (["plan", "net.pt2"], "use --method average", "use --method average"),
        (["convert", "net.pt2"], "use --method average", "use --method average"),
        (["audit"], "chiralize convert net.pt2 --method average", "chiralize convert net.pt2 --method average"),
        (["audit"], "use --seldom, which no command has", "use --seldom, which no command has"),
        (["skeleton", "check"], "use --method average", "use chiralize convert --method average"),
        (["--help"], "use --method average", "use --method average"),
        ([], "use --method average", "use --method average"),
    ],
)
def test_an_option_of_convert_is_named_with_it(words: list[str], remedy: str, wanted: str) -> None:
    error = CaptureError("net", "facts", remedy)
    name_the_command(error, app, words)
    assert error.remedy == wanted and str(error).endswith(f"Fix: {wanted}")

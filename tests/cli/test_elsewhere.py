"""What belongs to another command is said with it: options in remedies, and commands of a group."""

from __future__ import annotations

import pytest

from chiralize.__main__ import main
from chiralize.cli.app import app
from chiralize.cli.elsewhere import command_within, name_the_command
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


@pytest.mark.parametrize(
    ("words", "within"),
    [
        (["lint", "body.yaml"], "skeleton lint"),
        (["import"], "skeleton import"),
        (["skeleton", "lint"], None),
        (["convert"], None),
        (["lnt"], None),
        ([], None),
    ],
)
def test_a_command_of_a_group_is_known_without_it(words: list[str], within: str | None) -> None:
    assert command_within(app, words) == within


def test_who_types_it_by_itself_is_told_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["lint", "body.yaml"])
    assert exit.value.code == 2
    assert capsys.readouterr().err == (
        "UsageError CH207  chiralize: no command 'lint'\n    Fix: write chiralize skeleton lint\n"
    )

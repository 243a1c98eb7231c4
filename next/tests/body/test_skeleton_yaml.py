"""Plain YAML: what is read as what, in which line, and what is refused before it does harm."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.document import DEPTH_LIMIT, SIZE_LIMIT, from_python, parse_yaml, read_yaml, to_yaml
from chiralize.body.values import Exact, Keys, Name, Prose
from chiralize.errors import SpecError, UnknownKeyError, YamlSyntaxError

# text, line; None for any line
HOSTILE = {
    "python tag": ("a: !!python/object/apply:os.system [echo]", 1),
    "own tag": ("a: 1\nb: !secret x", 2),
    "string tag": ("a: !!str 1", 1),
    "anchor": ("a: &x [1]\nb: 2", 1),
    "alias": ("a: 1\nb: *x", 2),
    "two documents": ("a: 1\n---\nb: 2", 2),
    "tab": ("a:\n\tb: 1", 2),
    "unclosed list": ("a: [1, 2", 1),
    "unclosed quote": ('a: "x', 1),
    "stray colon": ("a: b: c", 1),
    "list as key": ("[1, 2]: x", 1),
    "map as key": ("? {a: 1}\n: x", 1),
    "directive": ("%FOO\na: 1", None),
    "deep": ("[" * (DEPTH_LIMIT + 5), 1),
    "deep maps": ("\n".join(" " * i + f"a{i}:" for i in range(DEPTH_LIMIT + 5)), None),
    "very deep": ("[" * 10_000 + "]" * 10_000, 1),
    "bomb": ("a0: &a0 [x, x]\na1: &a1 [*a0, *a0]", 1),
    "empty": ("", None),
    "comment only": ("# nothing\n", None),
}


class Read(Keys):
    """A record to try the types of scalars on."""

    name: Name = "-"
    share: Exact = Fraction(0)
    note: Prose = ""


def read(text: str) -> Read:
    return parse_yaml(text, "f.yaml").read(Read)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_with_its_line(case: str) -> None:
    text, line = HOSTILE[case]
    with pytest.raises(YamlSyntaxError) as caught:
        parse_yaml(text, "bad.yaml")
    assert (caught.value.code, caught.value.exit_status) == ("CH105", 2)
    assert caught.value.where.startswith(f"bad.yaml:{line}" if line else "bad.yaml")


def test_a_key_that_comes_twice_is_refused_at_the_second() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        parse_yaml("a: 1\nb: 2\na: 3", "d.yaml")
    assert caught.value.where == "d.yaml:3"


def test_files_too_large_binary_or_in_another_encoding_are_refused(tmp_path: Path) -> None:
    contents = {"big": b"#" * (SIZE_LIMIT + 1), "bin": b"\x80\xff\x00\x01", "utf16": "a: 1".encode("utf-16")}
    for name, raw in {**contents, "nul": b"a: \x00"}.items():
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(raw)
        with pytest.raises(YamlSyntaxError):
            read_yaml(path)
    with pytest.raises(YamlSyntaxError):
        read_yaml(tmp_path / "none.yaml")


def test_byte_order_mark_is_dropped_and_crlf_does_not_move_lines(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n")
    assert read_yaml(path).where(("b", 0)) == f"{path}:2"


def test_lines_of_every_path() -> None:
    document = parse_yaml("a:\n  - x\n  - [y,\n     z]\nb: {c: 1}\n", "f.yaml")
    paths = [("a", 0), ("a", 1), ("a", 1, 1), ("b", "c"), ("b", "no such key"), ()]
    assert [document.where(path) for path in paths] == [f"f.yaml:{line}" for line in (2, 3, 4, 5, 5, 1)]


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "No", "YES", "true", "False", "17", "1.5", "1/3"])
def test_what_other_readers_take_for_something_else_has_to_be_quoted(word: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(f"name: {word}")
    assert f'"{word}"' in caught.value.remedy and caught.value.where == "f.yaml:1"
    assert read(f'name: "{word}"').name == word and read(f"note: {word}").note == word


@pytest.mark.parametrize("text", ["name: null", "name: ~", "name: ''", "name: [a]", "name: {a: b}", "nme: a", "[a]"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert caught.value.where == "f.yaml:1"


@pytest.mark.parametrize(
    ("text", "number"), [("1/3", "1/3"), ("0.25", "1/4"), ("2", "2"), ("-1.5e1", "-15"), ("'2/4'", "1/2")]
)
def test_numbers_are_exact(text: str, number: str) -> None:
    assert str(read(f"share: {text}").share) == number


@pytest.mark.parametrize("text", ["1/0", "a", "nan", "inf", "1e999", "[1]", "0x10", "1/2/3", "", "9" * 400])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(SpecError):
        read(f"share: {text}")


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text.strip()))
def test_written_names_read_back(name: str) -> None:
    assert read(to_yaml({"name": name, "note": name})).name == name


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_politely(text: str) -> None:
    try:
        parse_yaml(text, "fuzz.yaml").read(Read)
    except SpecError as error:
        assert error.remedy


def test_python_values_are_read_as_their_text() -> None:
    assert from_python({"name": "no", "share": 0.5, "note": None}, "dict").read(Read) == Read(
        name="no", share=Fraction(1, 2)
    )
    for value in (True, 17, None):
        with pytest.raises(SpecError):
            from_python({"name": value}, "dict").read(Read)

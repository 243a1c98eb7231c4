"""The YAML reader: plain YAML with lines, and nothing else."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.skeleton.nodes import from_python, nearest
from chiralize.body.skeleton.writing import prose, scalar
from chiralize.body.skeleton.yaml_source import DEPTH_LIMIT, SIZE_LIMIT, parse_yaml, read_yaml
from chiralize.errors import SpecError, UnknownKeyError, YamlSyntaxError

HOSTILE = {
    "python tag": ("a: !!python/object/apply:os.system [echo]", 1, "tag"),
    "own tag": ("a: 1\nb: !secret x", 2, "tag"),
    "string tag": ("a: !!str 1", 1, "tag"),
    "anchor": ("a: &x [1]\nb: 2", 1, "anchor &x"),
    "alias": ("a: 1\nb: *x", 2, "x"),
    "two documents": ("a: 1\n---\nb: 2", 2, "second document"),
    "tab": ("a:\n\tb: 1", 2, ""),
    "unclosed list": ("a: [1, 2", 1, ""),
    "unclosed quote": ('a: "x', 1, ""),
    "stray colon": ("a: b: c", 1, ""),
    "list as key": ("[1, 2]: x", 1, "key"),
    "map as key": ("? {a: 1}\n: x", 1, "key"),
    "directive": ("%FOO\na: 1", 0, ""),
    "deep": ("[" * (DEPTH_LIMIT + 5), 1, "nested deeper"),
    "deep maps": ("\n".join(" " * i + f"a{i}:" for i in range(DEPTH_LIMIT + 5)), None, "nested deeper"),
    "empty": ("", 0, "empty"),
    "comment only": ("# nothing\n", 0, "empty"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_with_its_line(case):
    text, line, words = HOSTILE[case]
    with pytest.raises(YamlSyntaxError) as caught:
        parse_yaml(text, "bad.yaml")
    assert caught.value.code == "CH105"
    assert caught.value.exit_status == 2
    assert words in caught.value.facts
    assert caught.value.where.startswith("bad.yaml" if not line else f"bad.yaml:{line}")


def test_anchor_bomb_is_refused_before_it_expands():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    with pytest.raises(YamlSyntaxError, match="anchor &a0"):
        parse_yaml("\n".join(rows), "bomb.yaml")


@pytest.mark.parametrize("text", ["a: &x [1]\nb: 2", "a: 1\nb: *x"])
def test_the_remedy_of_a_file_that_a_program_wrote(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML makes an anchor of a list that is used twice; what the remedy says is read."""
    names = ["left_hip", "right_hip"]
    data = {"joints": names, "pairs": [names]}
    with pytest.raises(YamlSyntaxError, match="anchor &id001"):
        parse_yaml(yaml.safe_dump(data), "made.yaml")
    with pytest.raises(YamlSyntaxError) as caught:
        parse_yaml(text, "made.yaml")
    assert "`yaml.SafeDumper.ignore_aliases = lambda *_: True`" in caught.value.remedy
    monkeypatch.setattr(yaml.SafeDumper, "ignore_aliases", lambda *_: True)
    for written in (yaml.safe_dump(data), json.dumps(data)):
        joints, pairs = (node for _, node in parse_yaml(written, "made.yaml").entries or ())
        assert [node.text for node in joints.items or ()] == names
        assert pairs.items and [node.text for node in pairs.items[0].items or ()] == names


def test_ten_thousand_brackets_do_not_recurse():
    with pytest.raises(YamlSyntaxError):
        parse_yaml("[" * 10_000 + "]" * 10_000, "deep.yaml")


def test_duplicate_keys_name_both_lines():
    with pytest.raises(UnknownKeyError, match=r"d\.yaml:3.*'a' appears twice \(first in line 1\)"):
        parse_yaml("a: 1\nb: 2\na: 3", "d.yaml")


def test_files_too_large_binary_or_in_another_encoding_are_refused(tmp_path):
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (10 * SIZE_LIMIT))
    with pytest.raises(YamlSyntaxError, match="larger than"):
        read_yaml(big)
    for name, raw in {"bin": b"\x80\xff\x00\x01", "utf16": "a: 1".encode("utf-16"), "nul": b"a: \x00"}.items():
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(raw)
        with pytest.raises(YamlSyntaxError, match="text"):
            read_yaml(path)
    with pytest.raises(YamlSyntaxError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")


def test_byte_order_mark_is_dropped_and_crlf_keeps_lines(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n")
    fields = read_yaml(path).mapping("file")
    assert fields["b"].items and fields["b"].items[0].line == 2


def test_lines_of_every_value():
    root = parse_yaml("a:\n  - x\n  - [y,\n     z]\nb: {c: 1}\n", "f.yaml")
    fields = root.mapping("file")
    first, second = fields["a"].sequence("a")
    assert (first.line, second.line, second.sequence("a")[1].line) == (2, 3, 4)
    assert fields["b"].where == "f.yaml:5"


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "No", "YES", "true", "False"])
def test_yaml_booleans_where_names_stand_say_quote_it(word):
    node = parse_yaml(f"[{word}]", "f.yaml").sequence("names")[0]
    with pytest.raises(SpecError) as caught:
        node.name("joint")
    assert caught.value.remedy == f'quote it: "{word}"'
    assert parse_yaml(f'["{word}"]', "f.yaml").sequence("names")[0].name("joint") == word


@pytest.mark.parametrize("word", ["x", "y", "n", "z", "left hip", "Neck/Nose", "a1", "毛"])
def test_plain_names_are_names(word):
    assert parse_yaml(f"[{word}]", "f.yaml").sequence("names")[0].name("joint") == word


@pytest.mark.parametrize("text", ["17", "1.5", "1/3", "null", "~", "''", "[a]", "{a: b}"])
def test_what_is_no_name(text):
    with pytest.raises(SpecError, match=r"f\.yaml:1"):
        parse_yaml(f"[{text}]", "f.yaml").sequence("names")[0].name("joint")


def test_numbers_are_exact():
    read = [node.fraction("share") for node in parse_yaml("[1/3, 0.25, 2, -1.5e1, '2/4']", "f").sequence("numbers")]
    assert [str(value) for value in read] == ["1/3", "1/4", "2", "-15", "1/2"]


@pytest.mark.parametrize("text", ["1/0", "a", "nan", "inf", "1e999", "[1]", "0x10", "1/2/3", ""])
def test_what_is_no_number(text):
    with pytest.raises(SpecError, match="number|zero"):
        parse_yaml(f"[{text or 'null'}]", "f.yaml").sequence("numbers")[0].fraction("share")


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text.strip()))
def test_written_names_read_back(name):
    for text in (f"[{scalar(name)}]", f"- {scalar(name)}"):
        assert parse_yaml(text, "f").sequence("names")[0].name("joint") == name
    assert parse_yaml(f"note: {prose(name)}", "f").mapping("file")["note"].prose("note") == name


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_politely(text):
    try:
        parse_yaml(text, "fuzz.yaml")
    except SpecError as error:
        assert str(error).count("Fix:") >= 1


def test_python_values_become_nodes():
    root = from_python({"a": [1, True, None, "no", 0.5]}, "dict")
    items = root.mapping("file")["a"].sequence("a")
    assert items[0].is_integer and items[1].is_boolean and items[2].is_null
    assert items[3].name("joint") == "no"
    assert items[4].fraction("x") * 2 == 1


def test_nearest_ignores_case_and_admits_defeat():
    assert nearest("LEFT_HIPP", ["left_knee", "left_hip"]) == "left_hip"
    assert nearest("qqqq", ["left_knee"]) is None

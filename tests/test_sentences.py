"""Names that say what they hold, one idea in a statement, a docstring on what others call."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest

import chiralize

PACKAGE = Path(chiralize.__file__).parent
SAY_NOTHING = frozenset({"own", "found", "place", "told", "kept", "made", "some", "alone", "there", "such"})
"""Names that could stand for anything."""
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@lru_cache(1)
def nodes_by_kind(text: str) -> Mapping[type[ast.AST], list[Any]]:
    """The nodes of a file. Those of the last file are kept, since all checks look at one file after another."""
    by_kind = defaultdict[type[ast.AST], list[Any]](list)
    for node in ast.walk(ast.parse(text)):
        by_kind[type(node)].append(node)
    return by_kind


def nodes(text: str, *kinds: type[ast.AST]) -> Iterator[Any]:
    """The nodes of a file that are of one of the kinds."""
    for kind, members in nodes_by_kind(text).items():
        if issubclass(kind, kinds):
            yield from members


def bound(text: str) -> Iterator[tuple[int, str]]:
    """Every name that a file gives to something: variables, fields, arguments, functions."""
    for node in nodes(text, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
    for node in nodes(text, ast.arg):
        yield node.lineno, node.arg
    for node in nodes(text, ast.FunctionDef, ast.AsyncFunctionDef):
        yield node.lineno, node.name


def names_that_say_nothing(text: str) -> list[str]:
    return [f"{line}: {name}" for line, name in bound(text) if name in SAY_NOTHING]


def undocumented(text: str) -> list[str]:
    """Public classes, functions and methods without a docstring, functions within functions included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in nodes(text, *kinds) if not node.name.startswith("_")]
    return [f"{node.lineno}: {node.name}" for node in public if ast.get_docstring(node) is None]


def nested_comprehensions(text: str) -> list[str]:
    """Comprehensions within comprehensions: the inner one wants a name."""
    nested: list[str] = []
    for node in nodes(text, *COMPREHENSIONS):
        inner = [part for part in ast.walk(node) if isinstance(part, COMPREHENSIONS) and part is not node]
        nested += [f"{part.lineno}: {ast.unparse(part)}" for part in inner]
    return nested


def conditions_in_comprehensions(text: str) -> list[str]:
    """`x if y else z` within a comprehension: a loop says it."""
    found: list[str] = []
    for node in nodes(text, *COMPREHENSIONS):
        if any(isinstance(part, ast.IfExp) for part in ast.walk(node)):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def unformatted(text: str) -> list[str]:
    """Lines that are laid out by hand."""
    return [f"{number}: {line}" for number, line in enumerate(text.splitlines(), 1) if "# fmt: skip" in line]


CHECKS: dict[str, Callable[[str], list[str]]] = {
    "names that say nothing": names_that_say_nothing,
    "no docstring": undocumented,
    "nested comprehensions": nested_comprehensions,
    "conditions in comprehensions": conditions_in_comprehensions,
    "laid out by hand": unformatted,
}


@cache
def faults_of_the_package() -> tuple[dict[str, list[str]], Counter[str]]:
    """By check, where it fails; and what the files consist of."""
    faults: dict[str, list[str]] = {check: [] for check in CHECKS}
    parts = Counter[str]()
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        parts += parts_of(text)
        for check, lines in faults.items():
            lines += [f"{path.relative_to(PACKAGE)}:{line}" for line in CHECKS[check](text)]
    return faults, parts


def parts_of(text: str) -> Counter[str]:
    """How many statements there are, and how many comprehensions and conditional expressions."""
    expressions = (*COMPREHENSIONS, ast.IfExp)
    return Counter(
        statements=sum(1 for _ in nodes(text, ast.stmt)),
        expressions=sum(1 for _ in nodes(text, *expressions)),
    )


@pytest.mark.parametrize("check", CHECKS)
def test_sentences(check: str) -> None:
    found = faults_of_the_package()[0][check]
    assert not found, f"{len(found)}\n" + "\n".join(found)


def test_most_statements_hold_one_idea() -> None:
    parts = faults_of_the_package()[1]
    assert 100 * parts["expressions"] <= 7 * parts["statements"]
    assert parts_of("x = [a if b else c]\ny = [d for d in e]") == {"statements": 2, "expressions": 2}


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("names that say nothing", "for place in range(3): pass"),
        ("names that say nothing", "def f(own): pass"),
        ("names that say nothing", "def told(): pass"),
        ("names that say nothing", "class A:\n    made: int = 0"),
        ("names that say nothing", "[found for found in x]"),
        ("no docstring", "def f():\n    '''Says.'''\n    def g(): pass"),
        ("no docstring", "class A: pass"),
        ("nested comprehensions", "[[a for a in b] for b in c]"),
        ("nested comprehensions", "any(a in {d for d in e} for a in b)"),
        ("conditions in comprehensions", "[a if a else 0 for a in b]"),
        ("laid out by hand", "x = (1,\n     2)  # fmt: skip"),
    ],
)
def test_the_checks_can_fail(check: str, text: str) -> None:
    assert CHECKS[check](text)


def test_the_checks_let_sentences_pass() -> None:
    text = "def f(leaves):\n    '''Names of leaves.'''\n    return [leaf.name for leaf in leaves]\n"
    assert not any(check(text) for check in CHECKS.values())

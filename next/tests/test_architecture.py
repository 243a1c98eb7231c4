"""The wings of the house stand in one order, no import goes up or in a circle, files and records stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "chiralize"
MOST_LINES = 500
MOST_FIELDS = 14
MOST_ARGUMENTS = 8

WINGS = (
    "errors", "symmetry", "body", "graph", "infer", "nn", "storage", "problem", "verification", "methods", "report",
    "commands", "cli", "__main__",
)  # fmt: skip
"""A wing imports itself and what stands before it."""
WITHOUT_TORCH = (
    "chiralize.errors", "chiralize.symmetry.involution", "chiralize.symmetry.representation", "chiralize.body",
)  # fmt: skip
BUDGET = {
    "errors": (320, 3), "symmetry": (760, 6), "body": (3800, 18), "graph": (2700, 16), "infer": (6600, 36),
    "nn": (3450, 18), "storage": (3900, 21), "problem": (3300, 19), "verification": (4150, 21), "methods": (3850, 20),
    "report": (1600, 9), "commands": (2250, 15), "clients": (640, 4), "cli": (960, 6),
}  # fmt: skip
"""Lines and files that a wing may have. A wing that has more is paid for by another: the sum is what holds."""
MOST_LINES_IN_ALL, MOST_FILES_IN_ALL = 37_000, 230
PUBLIC_SIGNATURES = {"chiralize.commands.api"}
"""Modules whose functions people call with keywords, an option each."""
SHOWN_WHEN_ASKED = {"chiralize.report.records"}
"""The methods of a report load what writes it when they are called; every writer knows the reports."""
LARGE_RECORDS = {"Request": "what the user may ask for: every field is one option, declared once"}
"""Records with more fields, and why. Fields that travel together are a record of their own."""


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    names = {path: path.relative_to(package.parent).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in sorted(names.items())}


def imported(path: Path, known: Set[str], deferred: bool = True) -> Iterator[str]:
    """Modules of ours that a file imports, but for what only type checkers see.

    deferred: also within functions.
    """
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), deferred):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from full & known
            if full - known:
                yield node.module or ""


def statements(node: ast.AST, deferred: bool) -> Iterator[ast.AST]:
    """All statements below a node that are run, and not what they compute, which no import is in."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            continue
        is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not is_for_types and (deferred or not isinstance(child, ast.FunctionDef)):
            yield child
            yield from statements(child, deferred)


def graph_of(package: Path) -> Mapping[str, list[str]]:
    """What every module of a package imports of it."""
    known = modules(package)
    edges: dict[str, list[str]] = {}
    for name, path in known.items():
        edges[name] = sorted({other for other in imported(path, known.keys()) if other in known})
    return edges


@cache
def our_graph() -> Mapping[str, list[str]]:
    """What every module of chiralize imports of it."""
    return graph_of(PACKAGE)


def wing(module: str) -> str:
    """The wing of a module; the package itself hands out what is in `commands/api.py`."""
    return module.split(".")[1] if "." in module else "commands"


def goes_up(module: str, other: str) -> bool:
    """Whether an import leads to a later wing."""
    return WINGS.index(wing(other)) > WINGS.index(wing(module))


def circles(graph: Mapping[str, list[str]]) -> list[str]:
    """Modules that are left when whatever imports none of the rest is taken away, again and again."""
    rest = {name: set(others) - {name} for name, others in graph.items()}
    while free := {name for name, others in rest.items() if not others & rest.keys()}:
        rest = {name: others for name, others in rest.items() if name not in free}
    return sorted(rest)


def test_every_wing_is_named() -> None:
    stems = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert stems == {*WINGS, "__init__"}


def test_imports_go_down() -> None:
    edges = [(name, other) for name, others in our_graph().items() if name != "chiralize" for other in others]
    assert [edge for edge in edges if goes_up(*edge)] == []


def test_no_file_imports_in_a_circle() -> None:
    known = our_graph().keys()
    at_once = {name: list(imported(modules(PACKAGE)[name], known, deferred=False)) for name in SHOWN_WHEN_ASKED}
    assert circles({**our_graph(), **at_once}) == []


@pytest.mark.parametrize(
    ("text", "is_fault"),
    [
        ("from chiralize.commands import convert\n", True),
        ("def f():\n    from chiralize.commands.convert import convert\n", True),
        ("from chiralize.graph.run import Call\n", False),
    ],
)
def test_the_check_of_imports_can_fail(text: str, is_fault: bool, tmp_path: Path) -> None:
    package = tmp_path / "chiralize"
    for name in ("verification/numeric", "commands/convert", "graph/run"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).with_suffix(".py").touch()
        (package / name).with_name("__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "verification" / "numeric.py").write_text(text)
    edges = [("chiralize.verification.numeric", other) for other in graph_of(package)["chiralize.verification.numeric"]]
    assert any(goes_up(*edge) for edge in edges) == is_fault


def test_the_check_of_circles_can_fail() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == ["a", "b", "c"]
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []


def test_files_stay_small() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(PACKAGE).items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_the_house_keeps_to_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    sizes: dict[str, tuple[int, int]] = {}
    for name in BUDGET:
        paths = list((PACKAGE / name).rglob("*.py"))
        sizes[name] = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths), len(paths)
    with capsys.disabled():
        for name, (lines, files) in sizes.items():
            most_lines, most_files = BUDGET[name]
            print(f"\n{name:14}{lines:7} of {most_lines:5} lines {files:4} of {most_files:3} files", end="")
        print()
    assert sum(lines for lines, _ in sizes.values()) <= MOST_LINES_IN_ALL
    assert sum(files for _, files in sizes.values()) <= MOST_FILES_IN_ALL


def test_records_stay_small() -> None:
    counts: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(call) for call in node.decorator_list):
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                counts[node.name] = sum("ClassVar" not in ast.unparse(each.annotation) for each in fields)
    assert {name for name, count in counts.items() if count > MOST_FIELDS} <= LARGE_RECORDS.keys()


def test_functions_take_few_arguments() -> None:
    many: list[str] = []
    for name, path in modules(PACKAGE).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and name not in PUBLIC_SIGNATURES:
                given = [argument for argument in (*node.args.args, *node.args.kwonlyargs) if argument.arg != "self"]
                if len(given) > MOST_ARGUMENTS:
                    many.append(f"{name}.{node.name}")
    assert many == []


def test_torch_stays_where_it_is_needed() -> None:
    for name, path in modules(PACKAGE).items():
        if name.startswith(WITHOUT_TORCH):
            assert not any(other.split(".")[0] == "torch" for other in imported(path, our_graph().keys())), name


def test_the_numeric_verdict_knows_no_rules() -> None:
    """It may not lean on what it is to check, nor may anything that it imports."""
    reached, waiting = set[str](), ["chiralize.verification.numeric"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += our_graph()[name]
    assert [name for name in sorted(reached) if name.startswith("chiralize.infer")] == []
    assert "chiralize.graph.run" in reached


def test_the_package_loads_without_torch() -> None:
    code = "import sys, chiralize; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

"""The wings of the house stand in one order, no import goes up or in a circle, and the command starts without torch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "chiralize"
MOST_LINES = 500

WINGS = (
    "errors", "symmetry", "body", "graph", "infer", "storage", "problem", "nn", "verification", "methods", "report",
    "commands", "clients", "cli", "__main__",
)  # fmt: skip
"""A wing imports itself and what stands before it."""
WITHOUT_TORCH = (
    "chiralize.errors", "chiralize.symmetry.involution", "chiralize.symmetry.representation",
    "chiralize.symmetry.symbolic", "chiralize.body", "chiralize.storage.atomic",
)  # fmt: skip
RULES = ("chiralize.infer", "chiralize.symmetry.reynolds", "chiralize.symmetry.symbolic")
SHOWN_WHEN_ASKED = {"chiralize.report.readable", "chiralize.report.records"}
"""The methods of a report load what writes it when they are called; every writer knows the reports."""


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
    return {
        name: sorted({other for other in imported(path, known.keys()) if other in known})
        for name, path in known.items()
    }


def wing(module: str) -> str:
    """The wing of a module; the package itself hands out what is in `commands/api.py`."""
    return module.split(".")[1] if "." in module else "commands"


def goes_up(module: str, other: str) -> bool:
    """Whether an import leads to a later wing."""
    return WINGS.index(wing(other)) > WINGS.index(wing(module))


def is_private_to_others(module: str, other: str) -> bool:
    """Whether a module is named `_so` and belongs to a folder that the one which imports it does not lie in."""
    parts = other.split(".")
    folders = (".".join(parts[:place]) for place, part in enumerate(parts) if part.startswith("_"))
    return any(not f"{module}.".startswith(f"{folder}.") for folder in folders)


def circles(graph: Mapping[str, list[str]]) -> list[str]:
    """Modules that are left when whatever imports none of the rest is taken away, again and again."""
    left = {name: set(others) - {name} for name, others in graph.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    return sorted(left)


@cache
def our_graph() -> Mapping[str, list[str]]:
    """What every module of chiralize imports of it."""
    return graph_of(PACKAGE)


def test_wings() -> None:
    """Thirteen folders, `errors` below them, and what starts the command."""
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == {*WINGS, "__init__"}


def test_imports_go_down() -> None:
    edges = [(name, other) for name, others in our_graph().items() if name != "chiralize" for other in others]
    assert [edge for edge in edges if goes_up(*edge)] == []
    assert [edge for edge in edges if is_private_to_others(*edge)] == []
    assert len(edges) > 1000


def test_no_circles() -> None:
    at_once = {name: list(imported(modules(PACKAGE)[name], our_graph().keys(), False)) for name in SHOWN_WHEN_ASKED}
    assert circles({**our_graph(), **at_once}) == []


def test_files_stay_small() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(PACKAGE).items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


MOST_FIELDS = 12
LARGE_RECORDS = {"Request": "what the user may ask for: every field is one option, declared once"}
"""Records with more fields than that, and why. Fields that travel together are a record of their own."""


def field_counts(text: str) -> Iterator[tuple[str, int]]:
    """Every dataclass of a file by name, with the number of its fields."""
    if "dataclass" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(call) for call in node.decorator_list):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            yield node.name, sum("ClassVar" not in ast.unparse(each.annotation) for each in fields)


def test_records_stay_small() -> None:
    counts = [pair for path in PACKAGE.rglob("*.py") for pair in field_counts(path.read_text(encoding="utf-8"))]
    assert {name for name, count in counts if count > MOST_FIELDS} == LARGE_RECORDS.keys()
    assert len(counts) > 300


def test_the_check_of_records_can_fail() -> None:
    lines = "".join(f"    field_{number}: int = 0\n" for number in range(13))
    for decorator in ("@dataclass", "@dataclasses.dataclass(frozen=True)"):
        text = f"{decorator}\nclass Large:\n    LIMIT: ClassVar[int] = 1\n{lines}\nclass Plain:\n{lines}"
        assert list(field_counts(text)) == [("Large", 13)]


def test_torch_stays_where_it_is_needed() -> None:
    for name, path in modules(PACKAGE).items():
        if name.startswith(WITHOUT_TORCH):
            assert not any(other.split(".")[0] == "torch" for other in imported(path, our_graph().keys())), name


def test_numeric_knows_no_rules() -> None:
    """The numeric verdict may not lean on what it is to check, nor may anything that it imports."""
    reached, waiting = set[str](), ["chiralize.verification.numeric"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += our_graph()[name]
    assert [name for name in sorted(reached) if name.startswith(RULES)] == []
    assert "chiralize.graph.running" in reached


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("from chiralize.commands import convert\n", ["up"]),
        ("def f():\n    from chiralize.commands.convert import convert\n", ["up"]),
        ("from chiralize.infer.rules._table import page\n", ["private"]),
        ("from chiralize.commands import _hidden\n", ["up", "private"]),
        ("from chiralize.graph.running import Call\n", []),
    ],
)
def test_the_check_can_fail(text: str, faults: list[str], tmp_path: Path) -> None:
    """An import that goes up or into another folder's own is found, also inside a function."""
    package = tmp_path / "chiralize"
    files = ("verification/numeric", "commands/convert", "commands/_hidden", "infer/rules/_table", "graph/running")
    for name in files:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).with_suffix(".py").touch()
        (package / name).with_name("__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "verification" / "numeric.py").write_text(text)
    edges = [("chiralize.verification.numeric", other) for other in graph_of(package)["chiralize.verification.numeric"]]
    found = [("up", goes_up), ("private", is_private_to_others)]
    assert [name for name, fault in found if any(fault(*edge) for edge in edges)] == faults


def test_a_circle_is_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == ["a", "b", "c"]
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []


_RUN_ALL = """
import json, sys
from chiralize.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["chiralize", *words]
    try:
        main()
    except SystemExit:
        pass
    print("\\nLOADED", *sys.modules)
"""


def loaded_after(*commands: Sequence[str]) -> list[set[str]]:
    """Modules in memory after each of these commands of ours, which one process runs in turn."""
    command = [sys.executable, "-c", _RUN_ALL, json.dumps(commands)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith("LOADED")]
    return [set(line.split()) for line in lines]


QUICK = (
    ("--help",),
    ("skeleton", "list"),
    ("convert", "--help"),
    ("convert", "missing.pt2", "--skeleton", "h36m"),
    ("convert", "README.md", "--skeleton", "h36m", "--calibration", "missing.npz"),
    ("convert", "README.md", "--skeleton", "h36m", "-o", "chiral.txt"),
    ("convert", "README.md", "--skeleton", "h36m", "--rounds", "3", "--fast"),
    ("audit", "README.md", "--skeleton", "h36m", "--report", "page.txt"),
    ("verify", "README.md", "--skeleton", "no_such_skeleton"),
)
after_quick = cache(lambda: loaded_after(*QUICK))


@pytest.mark.parametrize("arguments", QUICK)
def test_starts_without_torch(arguments: tuple[str, ...]) -> None:
    """Importing torch takes seconds: help and skeletons must not pay for it, nor slips in a command.

    Where it fails for several, the first of them imports it.
    """
    assert len(after_quick()) == len(QUICK) and "torch" not in after_quick()[QUICK.index(arguments)]


@pytest.mark.thorough
def test_the_torch_check_can_fail() -> None:
    before, after = loaded_after(("skeleton", "list"), ("verify", __file__, "--skeleton", "h36m"))
    assert "torch" not in before and "torch" in after


OPS_BESIDE_RULES = {
    "chiralize/graph/capture.py": "what torch.export writes, before a graph is one of ours",
    "chiralize/graph/copies.py": "a kernel",
    "chiralize/graph/devices.py": "what torch.export writes",
    "chiralize/graph/execution.py": "what is run instead of an op",
    "chiralize/graph/export.py": "what torch.export writes, before a graph is one of ours",
    "chiralize/graph/isolation.py": "kernels that draw numbers",
    "chiralize/graph/local_writes.py": "what torch.export writes",
    "chiralize/graph/tracing.py": "what tracing writes",
    "chiralize/graph/while_capturing.py": "layers whose shapes are written down",
    "chiralize/graph/written.py": "what our passes write",
    "chiralize/methods/refine/arithmetic.py": "a kernel",
    "chiralize/nn/_convolution.py": "a kernel",
    "chiralize/nn/_steps.py": "kernels",
    "chiralize/nn/deploy/entrywise.py": "programs that run, of torch's own nodes",
    "chiralize/nn/deploy/graphs.py": "programs that run, of torch's own nodes",
    "chiralize/nn/deploy/halving.py": "programs that run, of torch's own nodes",
    "chiralize/nn/deploy/norms.py": "programs that run, of torch's own nodes",
    "chiralize/storage/program.py": "what a file may hold",
    "chiralize/storage/onnx_fourier.py": "what the ONNX exporter writes wrongly",
    "chiralize/verification/average_ops.py": "the proof of an average knows no rules",
}
"""Files outside `infer/rules/` that name ops, and why. A new one wants a reason, or better a trait on the rule."""
NAMES_TAKEN_APART = {
    "chiralize/commands/plan.py": "a name that is shown",
    "chiralize/graph/execution.py": "where names and ops of torch meet",
    "chiralize/graph/model.py": "an op of torch is looked up by its name",
    "chiralize/nn/deploy/norms.py": "no op: the path of a tensor",
    "chiralize/nn/deploy/speed.py": "which ops of a layer are timed",
    "chiralize/nn/deploy/swapping.py": "which op a layer of torch calls",
    "chiralize/storage/onnx_fourier.py": "the family of ops that the ONNX exporter writes wrongly",
    "chiralize/storage/program.py": "no op of aten: control flow that a file may hold",
    "chiralize/verification/asymmetry/layers.py": "a name that is shown",
}
"""Files outside `infer/rules/` that look at parts of an op's name."""
PARTING = {"split", "partition", "rpartition", "startswith", "endswith", "removeprefix", "removesuffix", "replace"}
NAMED = re.compile(r"\b_?aten(\.|::)\w", re.IGNORECASE)


def takes_names_apart(text: str) -> bool:
    """Whether code looks at a part of the name of an op (`target`), by which it may go without a full name."""
    if "target" not in text:
        return False
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(value=looked_at, attr=attribute)) if attribute in PARTING:
                pass
            case ast.Compare(left=ast.Constant(value=str()), ops=[ast.In() | ast.NotIn()], comparators=[looked_at]):
                pass
            case _:
                continue
        if re.search(r"\btarget\)?$", ast.unparse(looked_at)):
            return True
    return False


def beside_rules() -> Iterator[tuple[str, str]]:
    """The files outside `infer/rules/` with their texts."""
    for path in PACKAGE.rglob("*.py"):
        if "infer/rules" not in path.as_posix():
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_ops_are_named_in_rules() -> None:
    assert {name for name, text in beside_rules() if NAMED.search(text)} == OPS_BESIDE_RULES.keys()
    assert {name for name, text in beside_rules() if takes_names_apart(text)} == NAMES_TAKEN_APART.keys()


def test_the_check_of_names_can_fail() -> None:
    assert takes_names_apart('op = node.target.split(".")[1] if node.target.startswith("aten.") else ""')
    assert takes_names_apart('name = str(node.target).split(".")[1]')
    assert takes_names_apart('is_pool = "pool" in node.target')
    assert not takes_names_apart('path = name.split(".")[1]')
    assert NAMED.search("_ATEN.linear.default") and NAMED.search("aten::linear") and not NAMED.search('"aten."')

"""Imports go down only, files stay small, and the command starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "chiralize"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 500

# A module may import what stands on a lower level, and its own package.
LEVELS = {
    "cautions": 0,
    "errors": 0, "pretrained": 0, "leftovers": 4, "atomic": 5, "involution": 10, "representation": 20, "symbolic": 30,
    "reynolds": 30, "isotypic": 30, "skeleton": 30, "gram": 34, "blocks": 35, "nn": 40, "ridge": 35, "elimination": 35,
    "spec": 40,
    "holdings": 44, "copies": 45, "devices": 46, "snapshot": 46,
    "records": 50, "rules": 50, "running": 50, "feeds": 50, "sharing": 50, "verdicts": 51,
    "rollouts": 51,
    "influence": 52, "regions": 52, "passport": 53, "execution": 55, "strides": 55, "perturbation": 55, "sizes": 56,
    "ranges": 56, "precision": 56, "tracing": 58, "writes": 58,
    "isolation": 44, "silence": 44, "frozen": 44,
    "functional": 59,    "capture": 60, "centering": 60,
    "normalisers": 61, "infer": 60, "assign": 60, "rewrite": 60, "methods": 60, "moments": 60, "reduction": 60,
    "imitation": 57, "distillation": 60, "gauss_newton": 60,
    "numeric": 60, "certificate": 60, "orbit": 60, "by_joint": 59, "measure": 60, "evidence": 60, "forms": 60,
    "asymmetry": 60, "timing": 60, "opening": 65, "memory": 65,
    "report": 70, "storage": 70, "subject": 70, "inputs": 71, "sequences": 72,
    "pipeline": 80, "training": 80, "api": 90, "cli": 90,
    "pytest_plugin": 95, "__main__": 100, "__init__": 100,
}  # fmt: skip
PUBLIC_NAMES = {"chiralize", "verify", "plan", "audit"}
WITHOUT_TORCH = ("errors", "atomic", "involution", "representation", "symbolic", "skeleton", "spec")


def part(path: Path) -> str:
    """The top-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions; not what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (
                [f"chiralize.{alias.name}" for alias in node.names]
                if node.module == "chiralize"
                else [node.module or ""]
            )


def forbidden(path: Path) -> list[str]:
    """Imports of a file that go up or sideways."""
    own = part(path)
    found = []
    for name in imported(path):
        words = name.split(".")
        if words[0] != "chiralize" or len(words) == 1:
            continue
        other = words[1] if words[1] in LEVELS else "api"
        if other != own and LEVELS[other] >= LEVELS[own]:
            found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module(path: Path) -> None:
    """Known level, imports downwards, at most 500 lines."""
    assert part(path) in LEVELS, "give the new module a level"
    assert forbidden(path) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    if part(path) in WITHOUT_TORCH:
        assert not any(name.split(".")[0] == "torch" for name in imported(path))
    assert part(path) not in PUBLIC_NAMES


def test_numeric_knows_no_rules() -> None:
    """The numeric verdict may not lean on what it is to check."""
    names = set(imported(PACKAGE / "numeric.py"))
    assert not any(name.startswith(("chiralize.rules", "chiralize.reynolds", "chiralize.symbolic")) for name in names)


def test_the_check_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that goes up is found, also inside a function."""
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "numeric.py"
    bad.write_text("def f():\n    from chiralize.pipeline import conversion\n")
    assert forbidden(bad) == ["numeric.py imports chiralize.pipeline"]


def loaded_by(*arguments: str) -> set[str]:
    """Modules in memory after a command of ours."""
    code = (
        "import sys\nfrom chiralize.__main__ import main\nsys.argv = ['chiralize', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('\\nLOADED', *sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(result.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("skeleton", "list"), ("convert", "--help")])
def test_starts_without_torch(arguments: tuple[str, ...]) -> None:
    """Importing torch takes a second: help and skeletons must not pay for it."""
    assert "torch" not in loaded_by(*arguments)


def test_the_torch_check_can_fail() -> None:
    assert "torch" in loaded_by("verify", "missing.pt2", "--skeleton", "h36m")

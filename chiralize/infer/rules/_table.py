"""The documentation of the rules, written from the registry."""

from __future__ import annotations

from chiralize.infer.registry import OpRule, registry

_HEAD = """# Supported operations

Generated from the rules (`python -m chiralize.infer.rules._table > docs/rules.md`); a test keeps it in step.

An axis equation reads like einsum: the same letter is the same representation, `|c|` is it without its signs, `+c`
demands that there are none, `1t` demands that the mirror leaves the axis alone, `...` is any number of axes. A letter
that is summed over counts like any other, since signed permutations are orthogonal. An operation that is not listed
is refused (CH301); [add-a-rule.md](add-a-rule.md) says how to add one.
"""


def markdown() -> str:
    """The whole page."""
    rules = sorted({id(rule): rule for rule in registry().values()}.values(), key=lambda rule: rule.name.lower())
    lines = [
        _HEAD,
        f"{len(registry())} overloads of ATen operations, {len(rules)} rules.\n",
        "| rule | operations | statement | refused although possible |",
        "|---|---|---|---|",
        *map(_row, rules),
    ]
    return "\n".join(lines) + "\n"


def _row(rule: OpRule) -> str:
    """A rule as a row of the table."""
    names = ", ".join(f"`{target.removeprefix('aten.')}`" for target in rule.targets)
    cells = [rule.name, names, rule.statement, rule.incomplete]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(markdown(), end="")

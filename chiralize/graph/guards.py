"""Guards of exported programs against an axis of one entry.

torch asks how values lie in memory, which it cannot tell of one entry as of two, and so forbids one: after
`linear(x.transpose(0, 1))` a program says `x.size()[0] != 1`, though every op takes it.
"""

from __future__ import annotations

import re

from torch.export import ExportedProgram

_SIZE = r"L(?:\[[^\]]+\])+\.size\(\)\[\d+\]"
# One size, or a product of sizes. Of a difference (3*s - t != 3) the guard refuses more than axes of one entry.
_AGAINST_ONE = re.compile(rf"\(?(?:(\d+)\*)?{_SIZE}(?:\*{_SIZE})*\)? != (\d+)")


def is_against_one(guard: str) -> bool:
    """Whether a guard refuses nothing but an axis of one entry.

    >>> is_against_one("(6*L['x'].size()[0]) != 6"), is_against_one("L['x'].size()[0] != 4")
    (True, False)
    """
    match = _AGAINST_ONE.fullmatch(guard)
    # "6*size != 6" says size != 1, "size != 4" something else.
    return match is not None and int(match[1] or 1) == int(match[2])


def guards_of(program: ExportedProgram) -> list[str]:
    """The guards of a program, as code."""
    return list(getattr(program, "_guards_code", []))


def put_back(program: ExportedProgram, guards: list[str]) -> None:
    """Give a program these guards."""
    program._guards_code = guards


def without_guards_against_one(program: ExportedProgram) -> bool:
    """Take these guards out of a program, in place; whether it had any.

    A branch of the user's own on one sample has such a guard too. So the caller compares program and network on one.
    """
    guards = guards_of(program)
    others = [guard for guard in guards if not is_against_one(guard)]
    if len(others) == len(guards):
        return False
    put_back(program, others)
    return True

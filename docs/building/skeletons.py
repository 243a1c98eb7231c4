"""The reference of the shipped skeletons, from their files."""

from __future__ import annotations

from chiralize.body.skeleton.catalog import load_skeleton, shipped
from chiralize.body.skeleton.skeleton import Skeleton


def _row(body: Skeleton) -> str:
    names = ", ".join(f"`{alias}`" for alias in body.aliases)
    cells = (f"`{body.name}`", names, len(body.joints), len(body.pairs), len(body.center), " ".join(body.dims))
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _joints(body: Skeleton) -> str:
    lines = [f":::{{dropdown}} {body.name}", "| | joint | partner |", "|---|---|---|"]
    for number, joint in enumerate(body.joints):
        partner = body.partner(number)
        lines.append(f"| {number} | `{joint}` | {f'`{body.joints[partner]}`' if partner != number else ''} |")
    return "\n".join([*lines, ":::"])


def page() -> str:
    """The whole page."""
    bodies = [load_skeleton(name) for name in shipped()]
    head = ["| name | also | joints | pairs | centre | coordinates |", "|---|---|---|---|---|---|"]
    parts = [
        "# Shipped skeletons",
        f"{len(bodies)} bodies. `chiralize skeleton show NAME` prints one, and with `--image FILE` draws it.",
        "\n".join([*head, *(_row(body) for body in bodies)]),
        "## Joints and their partners",
        *(_joints(body) for body in bodies),
    ]
    return "\n\n".join(parts) + "\n"

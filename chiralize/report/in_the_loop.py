"""The part of a report on policies in their environment: a table of the policies, and what the environment is like.

`--rollout` runs the original, its flip average and, of a conversion, the result from some starts and from their mirror
images (`verification.closed_loop`). Here a `Rollout` becomes a table with a row for each; its warnings are made in
`loop_cautions`, clauses for the first line in `loop_words`. A policy that commutes with the mirror has a gap of 0 in an
environment that is its own mirror image:

    gap of the original 40 ± 9, of the flip average 2 ± 3        the policy leans, the environment does not
    gap of the original 40 ± 9, of the flip average 38 ± 8       the environment, or its reward, is one-sided
"""

from __future__ import annotations

from chiralize.report.document import Block, Line, Section, plain, plural, short, table, warning_lines
from chiralize.report.loop_cautions import loop_cautions
from chiralize.report.loop_words import with_error
from chiralize.verification.closed_loop.records import Probe, Rollout, Walker


def loop_blocks(rollout: Rollout | None) -> list[Block]:
    """A table of the policies, what the environment is like, and every warning."""
    if rollout is None:
        return []
    rows = [_row(rollout, walker) for walker in rollout.walkers]
    heads = ("policy", "return", "mirrored starts", "of the original's", "gap", "falls", "parting", "mirror error")
    title = f"In the loop: {rollout.environment}, {plural(rollout.starts, 'start')} and their mirror images"
    blocks: list[Block] = [Section(title), table(heads, rows, range(1, 8))]
    blocks.append(
        Line(f"an episode has at most {rollout.steps} steps; figures are means ± standard errors over starts")
    )
    blocks.append(Line("gap: mean difference between the return of a start and that of its mirror image"))
    blocks.append(
        Line(
            f"parting: how far the mirror image of the robot is from the robot that began there, {rollout.unit}; in "
            f"brackets after how many steps that is above {plain(rollout.apart)}, for the first half of the starts"
        )
    )
    blocks.append(Line("mirror error: RMS(a(o) - T a(T o)) along the way, in spreads of the actions"))
    blocks += _probe_blocks(rollout.probe)
    blocks += [Line(note) for note in rollout.notes]
    return blocks + warning_lines(loop_cautions(rollout))


def _row(rollout: Rollout, walker: Walker) -> tuple[str, ...]:
    """A policy's row: figures as the heads of the table name them."""
    share = "" if walker is rollout.original else with_error(rollout.share(walker))
    distances = sorted(walker.parting)
    middle = distances[len(distances) // 2]
    # parted: by start, after how many steps both robots were too far apart; None of those that never were, so that the
    # median over all starts is known only where half of them did part
    parted = sorted(step for step in walker.parted if step is not None)
    half = (rollout.starts - 1) // 2
    after = f" ({parted[half]})" if half < len(parted) else " (never)"
    return (
        walker.name,
        with_error(walker.ahead.mean),
        with_error(walker.mirrored.mean),
        share,
        with_error(walker.gap),
        f"{walker.falls} of {2 * rollout.starts}",
        f"{short(middle)}{after}",
        short(walker.action_gap),
    )


def _probe_blocks(probe: Probe | None) -> list[Block]:
    """What the environment itself is like: a line where it is symmetric, else a table of how far it is from that."""
    if probe is None:
        return []
    if probe.is_symmetric:
        return [
            Line(
                "the environment is its own mirror image: random actions and their mirror images differ by "
                f"{short(max(probe.start, probe.steps))} of what is seen and {short(probe.reward)} of the rewards",
                "good",
            )
        ]
    rows = (
        ("what is seen at the start", short(probe.start)),
        ("what is seen after random actions", short(probe.steps)),
        ("rewards", short(probe.reward)),
        ("the same start twice", short(probe.restarted)),
        ("the same actions twice", short(probe.repeated)),
    )
    return [table(("how far the environment is from its mirror image", "share"), rows, (1,))]

"""The pictures of the concepts, drawn by code: `python -m docs.building.figures` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from docs.building.svg import Drawing, Point

DOCS = Path(__file__).parents[1]
FOLDER = DOCS / "figures" / "concepts"

POSE: dict[str, Point] = {
    "hip": (0, 0),
    "left_hip": (13, 4),
    "left_knee": (22, 50),
    "left_foot": (14, 96),
    "right_hip": (-13, 4),
    "right_knee": (-34, 44),
    "right_foot": (-58, 84),
    "spine": (2, -28),
    "thorax": (4, -58),
    "neck_base": (6, -72),
    "head": (9, -92),
    "left_shoulder": (26, -56),
    "left_elbow": (48, -82),
    "left_wrist": (40, -114),
    "right_shoulder": (-18, -54),
    "right_elbow": (-38, -26),
    "right_wrist": (-54, 2),
}
"""A person who waves with the left hand, facing us as in a picture of a camera: y grows downwards."""


def _mirrored(pose: dict[str, Point], body: Skeleton, swap: bool = True) -> dict[str, Point]:
    """The pose with x negated, and, with `swap`, under the names of the partners."""
    image: dict[str, Point] = {}
    for number, joint in enumerate(body.joints):
        source = body.joints[body.partner(number)] if swap else joint
        image[joint] = (-pose[source][0], pose[source][1])
    return image


def _draw_body(drawing: Drawing, pose: dict[str, Point], at: Point, scale: float = 1.0, flat: str = "") -> None:
    """A pose with its left in blue, its right in vermilion; `flat` is one colour for all of it."""
    body = load_skeleton("h36m")
    colours = {"left": "left", "right": "right", "center": "soft"}
    points = {joint: (at[0] + scale * x, at[1] + scale * y) for joint, (x, y) in pose.items()}
    for start, end in body.edges:
        side = body.side(end) if body.side(start) == "center" else body.side(start)
        drawing.line(points[body.joints[start]], points[body.joints[end]], f"{flat or colours[side]} thick")
    drawing.circle(points["head"], 9 * scale, f"fill-{flat or 'soft'}")


def opening() -> Drawing:
    """A body and its mirror image, what an ordinary network answers to both, and what a converted one answers."""
    drawing = Drawing("opening", 720, 400, "An ordinary network answers the mirror image differently, ours alike")
    body = load_skeleton("h36m")
    image = _mirrored(POSE, body)
    bent = {"left_elbow": (-8, 14), "left_wrist": (-22, 30), "right_wrist": (16, -10), "left_foot": (12, -6)}
    wrong = {joint: (x + bent.get(joint, (0, 0))[0], y + bent.get(joint, (0, 0))[1]) for joint, (x, y) in image.items()}
    columns = ((110, ["input"]), (360, ["an ordinary network"]), (610, ["after chiralize"]))
    for x, words in columns:
        drawing.lines((x, 24), words, "middle bold")
    for y, poses in ((115, (POSE, POSE, POSE)), (285, (image, wrong, image))):
        for (x, _), pose in zip(columns, poses, strict=True):
            if pose is wrong:
                _draw_body(drawing, image, (x, y), 0.62, "pale")
            _draw_body(drawing, pose, (x, y), 0.62)
        drawing.arrow((185, y), (270, y))
    drawing.text((110, 372), "its mirror image", "middle small")
    drawing.text((360, 372), "not the mirror image of its answer above", "middle small fill-right")
    drawing.text((610, 372), "exactly the mirror image", "middle small fill-good")
    return drawing


def mirror() -> Drawing:
    """A pose, the pose negated, and its mirror image: two steps make T."""
    drawing = Drawing("mirror", 720, 330, "A pose, negated, and swapped: together the mirror image")
    body = load_skeleton("h36m")
    poses = [POSE, _mirrored(POSE, body, swap=False), _mirrored(POSE, body)]
    titles = [["a pose x"], ["1. negate x"], ["2. swap the names:", "the mirror image T x"]]
    for column, (pose, words) in enumerate(zip(poses, titles, strict=True)):
        middle = 120 + 240 * column
        drawing.line((middle, 20), (middle, 245), "soft dashed")
        _draw_body(drawing, pose, (middle, 140))
        drawing.lines((middle, 272), words, "middle")
    drawing.arrow((205, 140), (275, 140))
    drawing.arrow((445, 140), (515, 140))
    drawing.text((30, 318), "left", "bold fill-left")
    drawing.text((75, 318), "right", "bold fill-right")
    return drawing


def permutation() -> Drawing:
    """T as a signed permutation of eight numbers: head, left hand, right hand and hip, each with x and y."""
    drawing = Drawing("permutation", 720, 300, "T on eight numbers: x changes its sign, the hands change places")
    names = ["head x", "head y", "l.hand x", "l.hand y", "r.hand x", "r.hand y", "hip x", "hip y"]
    partner = [0, 1, 4, 5, 2, 3, 6, 7]
    for number, name in enumerate(names):
        left, style = 75 + 82 * number, "soft fill-pale"
        colour = {"l": "left", "r": "right"}.get(name[0] if name[1] == "." else "", "soft")
        for top in (40, 210):
            drawing.box((left - 36, top), (72, 40), style.replace("soft", colour))
            drawing.text((left, top + 26), name, "middle small")
        negated = number % 2 == 0
        drawing.arrow((left, 80), (75 + 82 * partner[number], 208), "right dashed" if negated else "ink")
    drawing.text((39, 26), "the pose x")
    drawing.text((39, 278), "its mirror image T x")
    drawing.text((400, 278), "dashed: the sign changes", "fill-right")
    return drawing


def equivariance() -> Drawing:
    """The two ways from a pose to the answer on the other side of the mirror."""
    drawing = Drawing("equivariance", 720, 430, "Mirror then network, or network then mirror: the same answer")
    body = load_skeleton("h36m")
    image = _mirrored(POSE, body)
    for x, y, pose, words in ((110, 110, POSE, "x"), (110, 315, image, "T x")):
        _draw_body(drawing, pose, (x, y), 0.72)
        drawing.text((x - 88, y), words, "bold")
    drawing.arrow((205, 110), (465, 110))
    drawing.arrow((205, 315), (465, 315))
    drawing.text((335, 98), "the network f", "middle")
    drawing.text((335, 303), "the network f", "middle")
    deeper = {joint: (x + 0.25 * y, y) for joint, (x, y) in POSE.items()}
    _draw_body(drawing, deeper, (560, 110), 0.72)
    _draw_body(drawing, _mirrored(deeper, body), (560, 315), 0.72)
    drawing.text((640, 115), "f(x)", "bold")
    drawing.lines((632, 300), ["f(T x)", "= T f(x)"], "bold")
    drawing.arrow((110, 196), (110, 230))
    drawing.arrow((560, 196), (560, 230))
    drawing.text((125, 220), "T")
    drawing.text((575, 220), "T")
    drawing.text((360, 415), "equivariant: both ways round the square end at the same answer", "middle small")
    return drawing


def parts() -> Drawing:
    """A pair of units split into its even and its odd part, and the weight matrix that falls into two blocks."""
    drawing = Drawing("parts", 720, 330, "Even and odd parts: the weight matrix falls into two blocks of half the size")
    for top, sign, name, style in (
        (40, "+", "even: T leaves it alone", "left"),
        (165, "−", "odd: T negates it", "right"),
    ):
        drawing.labelled((20, top), (46, 40), ["u"])
        drawing.text((80, top + 26), sign, "bold")
        drawing.labelled((104, top), (46, 40), ["v"])
        drawing.arrow((156, top + 20), (186, top + 20))
        drawing.labelled((190, top), (120, 40), [f"(u {sign} v) / √2"], f"{style} fill-pale")
        drawing.text((20, top + 66), name, f"fill-{style}")
    drawing.lines((20, 278), ["u and v are two units", "that the mirror exchanges"], "small")
    for left, title, blocks in ((370, "a plain layer", False), (560, "an equivariant layer", True)):
        drawing.text((left, 30), title, "small")
        drawing.box((left, 45), (140, 140), "soft", 0)
        if not blocks:
            drawing.box((left, 45), (140, 140), "soft fill-soft", 0)
            continue
        drawing.box((left, 45), (70, 70), "left fill-left", 0)
        drawing.box((left + 70, 115), (70, 70), "right fill-right", 0)
        drawing.text((left + 105, 85), "0", "middle")
        drawing.text((left + 35, 155), "0", "middle")
    drawing.lines((560, 210), ["even to even,", "odd to odd:", "half the weights,", "half the work"], "small")
    drawing.text((370, 210), "all to all", "small")
    return drawing


def average() -> Drawing:
    """Why the flip average is nearer to the truth: the half of the error that depends on the side cancels."""
    drawing = Drawing("average", 720, 330, "Two answers, one from each side of the mirror, and their mean")
    truth, first, second = (120, 190), (470, 60), (470, 280)
    mean = (470, 170)
    drawing.line(first, second, "soft dashed")
    for point, style in ((first, "left"), (second, "right"), (mean, "good")):
        drawing.line(truth, point, style)
    drawing.circle(truth, 8, "fill-ink")
    drawing.text((104, 222), "the truth", "middle")
    drawing.circle(first, 8, "fill-left")
    drawing.lines((488, 55), ["f(x): the answer", "to the pose"], "fill-left")
    drawing.circle(second, 8, "fill-right")
    drawing.lines((488, 275), ["T f(T x): to its mirror", "image, turned back"], "fill-right")
    drawing.circle(mean, 8, "fill-good")
    drawing.lines((488, 165), ["their mean: the part", "of the error that depends", "on the side is gone"], "fill-good")
    drawing.text((440, 118), "gap / 2", "end small")
    drawing.text((440, 235), "gap / 2", "end small")
    return drawing


def _all_ways() -> str:
    """The page of results from its table of all ways on; today's defaults have a table of their own before it."""
    return (DOCS / "results.md").read_text(encoding="utf-8").split("<!-- accuracy -->")[1]


def _row(name: str) -> list[str]:
    """The cells of a row of the table of all ways."""
    match = re.search(rf"^\| {re.escape(name)} \|.*$", _all_ways(), re.MULTILINE)
    assert match is not None, name
    return [cell.strip() for cell in match[0].strip("|").split("|")]


def dial() -> Drawing:
    """Error against cost for one network, from the table of results."""
    drawing = Drawing(
        "the-dial", 720, 360, "Error against cost of one network: the original, half width, 0.707, both views"
    )
    head = next(line for line in _all_ways().splitlines() if line.startswith("| network | seeds |"))
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    cells = dict(zip(columns, _row("frame lifter, 512"), strict=False))
    points = [
        ("½", 0.52, float(cells["½"]), "good"),
        ("½, distilled", 0.52, float(cells["½, distilled"]), "good"),
        ("0.707", 1.02, float(cells["0.707"]), "good"),
        ("original: not equivariant", 1.0, 1.0, "right"),
        ("both views", 2.0, float(cells["both views"]), "left"),
    ]

    def at(cost: float, error: float) -> Point:
        return 90 + 270 * cost, 60 + (1.004 - error) * 10500

    drawing.line((90, 40), (90, 300), "soft")
    drawing.line((90, 300), (700, 300), "soft")
    for cost in (0.5, 1.0, 1.5, 2.0):
        drawing.text((at(cost, 1)[0], 322), f"×{cost:g}", "middle small fill-soft")
    drawing.text((395, 348), "multiplications, in units of the original's", "middle small")
    for error in (1.0, 0.99):
        drawing.text((80, at(0, error)[1] + 5), f"{error:.2f}", "end small fill-soft")
        drawing.line((86, at(0, error)[1]), (90, at(0, error)[1]), "soft")
    drawing.text((20, 24), "error, in units of the original's", "small")
    for name, cost, error, colour in points:
        x, y = at(cost, error)
        drawing.circle((x, y), 8, f"fill-{colour}")
        side = "end" if cost == 2.0 else ""
        drawing.text((x - 16 if side else x + 14, y + 5), f"{name}: {error:.3f}", f"{side} fill-{colour}")
    return drawing


def rho() -> Drawing:
    """rho as a distance from the flip average, in units of half the gap."""
    drawing = Drawing(
        "what-rho-is", 720, 400, "Rho: the distance from the flip average, in units of half the original's gap"
    )
    centre, unit = (230, 205), 95
    for radius, colour in ((1.25, "good"), (2.0, "right")):
        drawing.circle(centre, radius * unit, f"{colour} dashed")
    drawing.circle(centre, unit, "soft")
    ends = (centre[0] - unit, centre[1]), (centre[0] + unit, centre[1])
    drawing.line(*ends, "soft dashed")
    drawing.circle(centre, 8, "fill-good")
    for point, words, colour in ((ends[0], "original", "left"), (ends[1], "mirrored", "right")):
        drawing.circle(point, 8, f"fill-{colour}")
        inwards = centre[0] + 0.58 * (point[0] - centre[0])
        drawing.text((inwards, point[1] - 12), words, f"middle small fill-{colour}")
    drawing.text((centre[0], centre[1] + 28), "flip average", "middle small fill-good")
    result = (centre[0] + 26, centre[1] - 62)
    drawing.arrow(centre, result)
    drawing.circle(result, 7, "fill-ink")
    drawing.text((result[0] - 14, result[1] - 4), "result:", "end small")
    drawing.text((result[0] - 14, result[1] + 14), "rho 0.7", "end small")
    lines = [
        ("the original's two answers lie a gap", "ink"),
        ("apart; half of the gap is rho 1", "ink"),
        ("", "ink"),
        ("within 1.25: the error stays within", "good"),
        ("a few percent of the original's", "good"),
        ("", "ink"),
        ("beyond 2: far away,", "right"),
        ("fine-tune before use", "right"),
        ("", "ink"),
        ("not in the picture: the truth.", "ink"),
        ("rho is no error, and needs no labels", "ink"),
    ]
    for number, (words, colour) in enumerate(lines):
        drawing.text((446, 80 + 25 * number), words, f"small fill-{colour}")
    return drawing


def certificate() -> Drawing:
    """The two verdicts: the network run on both sides, and the proof that goes through it op by op."""
    drawing = Drawing("certificate", 720, 390, "Two verdicts that know nothing of each other")
    drawing.text((30, 30), "numeric: run it", "bold")
    drawing.text((360, 30), "certificate: prove it", "bold")
    for x, words, answer in ((30, "x", "T f(x)"), (180, "T x", "f(T x)")):
        drawing.labelled((x, 55), (120, 40), [words])
        drawing.arrow((x + 60, 97), (x + 60, 138))
        drawing.labelled((x, 142), (120, 40), ["f"])
        drawing.arrow((x + 60, 184), (x + 60, 225))
        drawing.labelled((x, 229), (120, 40), [answer])
    drawing.arrow((90, 271), (150, 318))
    drawing.arrow((240, 271), (180, 318))
    drawing.labelled((60, 322), (210, 50), ["equal to the last digits", "of float64?"], "good fill-pale")
    rows: Sequence[tuple[str, str]] = (
        ("linear", "T W T = W for its weight"),
        ("batch norm", "partners have equal statistics"),
        ("relu", "no signs in its input"),
        ("linear", "T W T = W for its weight"),
    )
    for number, (op, condition) in enumerate(rows):
        top = 55 + 66 * number
        drawing.labelled((360, top), (110, 40), [op])
        drawing.text((484, top + 25), condition, "small")
        drawing.text((696, top + 25), "✓", "bold fill-good")
        drawing.arrow((415, top + 42), (415, top + 64), "soft")
    drawing.labelled(
        (360, 322), (340, 50), ["one rule an op, one condition a weight:", "a proof for all inputs"], "good fill-pale"
    )
    return drawing


def methods() -> Drawing:
    """Which method: questions from the top down, each with the option that answers it."""
    drawing = Drawing("which-method", 720, 470, "Which method: three questions")
    questions = (
        (["Must the answers stay exactly", "those of the flip average?"], ["--method average", "two passes"]),
        (
            ["Must class and names stay,", "or is it a graph network?"],
            ["--method match", "one pass; then fine-tune"],
        ),
        (
            ["Do you have a thousand", "unlabelled inputs or more?"],
            ["--calibration poses.npz", "reduce: one pass, less work"],
        ),
    )
    for number, (question, answer) in enumerate(questions):
        top = 20 + 120 * number
        drawing.labelled((30, top), (290, 64), question, "ink")
        drawing.arrow((322, top + 32), (418, top + 32))
        drawing.text((368, top + 22), "yes", "middle small")
        drawing.labelled((422, top), (268, 64), answer, "good fill-pale")
        drawing.arrow((175, top + 66), (175, top + 117))
        drawing.text((188, top + 98), "no", "small")
    words = [
        "no option: chiralize convert FILE --skeleton BODY",
        "one pass if poses drawn for it suit the network, else two passes",
    ]
    drawing.labelled((30, 380), (660, 70), words, "left fill-pale")
    return drawing


FIGURES: tuple[Callable[[], Drawing], ...] = (
    opening,
    mirror,
    permutation,
    equivariance,
    parts,
    average,
    dial,
    rho,
    certificate,
    methods,
)


def drawn() -> dict[Path, str]:
    """Every file with its text."""
    drawings = [draw() for draw in FIGURES]
    return {FOLDER / f"{drawing.name}.svg": drawing.svg() for drawing in drawings}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in drawn().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(DOCS))

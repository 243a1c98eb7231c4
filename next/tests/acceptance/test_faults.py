"""What the first edition gets wrong, as kinds: each test states what is right."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import BY_NAME, Flat, perceptron
from conftest import Shell
from judge import ROUNDING, Case, flip_average, gap, pose, products, residual, rolled, scrambled, state_of
from kitchen import BODY, PAIRS, poses, program, with_member
from torch import Tensor, nn

import chiralize
from chiralize.errors import ChiralizeError, SpecError, UsageError

_T = (pose(PAIRS),)
SPEC = {
    "skeleton": {
        "joints": ["head", "left_hand", "right_hand", "left_foot", "right_foot"],
        "pairs": [["left_hand", "right_hand"], ["left_foot", "right_foot"]],
        "dims": ["x", "y"],
        "negate": ["x"],
    },
    "inputs": [{"layout": "b t j d"}],
    "outputs": [{"layout": "b t j d"}],
}


class Tabled(nn.Module):
    """Commutes with T for up to 41 frames: the table has a side in row 41 alone."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.use = use
        self.scale = nn.Parameter(torch.tensor(0.7))
        table = torch.full((64, 5, 2), {"added": 0.0, "factor": 1.0, "chosen": 0.0}[use])
        table[41, 3, 1] = 2.0
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        h, rows = torch.tanh(self.scale * x), self.table[: x.shape[1]]
        if self.use == "added":
            return h + rows
        return h * rows if self.use == "factor" else torch.where(rows > 1, 0.3 * h, h)


@pytest.mark.spine
@pytest.mark.fault(first="a stored table is not checked beyond the rows that the example reads")
@pytest.mark.parametrize("use", ["added", "factor", "chosen"])
def test_stored_table_is_checked_whole(use: str) -> None:
    """Nothing may be called equivariant at all lengths that fails at 50 frames."""
    short = Case(use, lambda: Tabled(use).double(), SPEC, ((2, 4, 5, 2),), _T, _T)
    long = Case(use, short.build, SPEC, ((2, 50, 5, 2),), _T, _T)
    net = short.build().eval()
    assert residual(net, short) <= ROUNDING < residual(net, long)
    with pytest.raises(ChiralizeError):
        chiralize.verify(net, SPEC, short.inputs()).raise_for_failure()
    average = chiralize.chiralize(net, SPEC, short.inputs(), method="average")
    steps = [long.inputs(100)]
    assert gap(rolled(average, long, steps), flip_average(net, long, 1)) <= ROUNDING
    try:
        result = chiralize.chiralize(net, SPEC, short.inputs(), method="match")
    except ChiralizeError:
        return
    assert residual(result, long) <= ROUNDING


@pytest.mark.spine
@pytest.mark.fault(first="an average of a network that passes is not made")
def test_average_averages_what_is_equivariant() -> None:
    """Who asks for two passes gets two, also of a network that passes `verify`."""
    case = BY_NAME["policy"]
    symmetric = chiralize.chiralize(case.model(), case.spec, case.inputs(), method="project")
    result = chiralize.chiralize(symmetric, case.spec, case.inputs(), method="average")
    assert products(result, *case.inputs()) == 2 * products(symmetric, *case.inputs())
    assert result.chirality.method == "average" and residual(result, case) <= ROUNDING


@pytest.mark.spine
@pytest.mark.fault(first="names of commands that merely hold a known word get its sign")
@pytest.mark.parametrize(
    ("names", "signs"),
    [
        (["vx", "cos_heading", "sin_heading", "max_yaw_rate"], [1, 1, -1, 1]),
        (["vx", "vy", "cos_yaw"], [1, -1, 1]),
        (["vy", "yaw_rate_limit"], [-1, 1]),
    ],
)
def test_commands_keep_their_signs(names: list[str], signs: list[int]) -> None:
    """The cosine of a heading and a limit are kept; a name that is not known may be asked for instead."""
    spec = {"skeleton": {**SPEC["skeleton"], "lateral": "y"}, "inputs": [{"fields": [{"command": names}]}]}
    try:
        mirror = chiralize.Mirror.of(spec, input_shapes=[(1, len(names))])
    except SpecError:
        return
    assert mirror(torch.ones(1, len(names))).tolist() == [signs]


class Cased(nn.Module):
    """Two arguments whose names differ in case alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(20, 10)

    def forward(self, X: Tensor, x: Tensor) -> Tensor:
        return self.body(torch.cat([X.flatten(1), x.flatten(1)], 1)).unflatten(1, (5, 2))


@pytest.mark.spine
@pytest.mark.fault(first="arrays called X and x make an archive hostile")
def test_names_may_differ_in_case(shell: Shell) -> None:
    two = 'inputs: [{layout: "b j d"}, {layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
    Path("two.yaml").write_text(BODY + two)
    program(scrambled(Cased()), Path("cased.pt2"), poses(3), poses(3, 2))
    np.savez("example.npz", X=poses(3).numpy(), x=poses(3, 2).numpy())
    shell.works("convert cased.pt2 --skeleton two.yaml --method average --example example.npz -o out.pt2")


MISUSED: dict[str, Any] = {
    "method as fourth argument": lambda net, x: chiralize.chiralize(net, "h36m", x, "match"),
    "progress": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", progress=5),
    "layouts": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", input_layouts=3),
    "force": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", force="no"),
    "entry": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", entry=None),
    "rollout": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", rollout=3),
    "tolerance": lambda net, x: chiralize.verify(net, "h36m", x, tolerance="1e-5"),
    "invariant": lambda net, x: chiralize.chiralize(net, "h36m", x, method="match", invariant="yes"),
    "method": lambda net, x: chiralize.chiralize(net, "h36m", x, method=["match"]),
}


@pytest.mark.spine
@pytest.mark.fault(first="options of a wrong type raise bare exceptions, or count as true")
@pytest.mark.parametrize("name", MISUSED)
def test_misuse_is_a_usage_error(name: str) -> None:
    case = BY_NAME["linear"]
    with pytest.raises(UsageError) as raised:
        MISUSED[name](case.model(), case.inputs()[0])
    assert raised.value.code == "CH207" and raised.value.exit_status == 2


class Rotary(nn.Module):
    """One head of attention over frames, whose queries and keys turn by a table of speeds."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.take, self.give = nn.Linear(34, width), nn.Linear(width, 51)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.register_buffer("speeds", 100.0 ** -torch.linspace(0, 1, width // 2))

    def turn(self, a: Tensor) -> Tensor:
        angle = torch.arange(a.shape[1], dtype=a.dtype)[:, None] * self.speeds
        angle = torch.cat([angle, angle], -1)
        first, second = a.chunk(2, -1)
        return a * angle.cos() + torch.cat([-second, first], -1) * angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        h = self.take(x.flatten(2))
        q, k = self.turn(self.q(h)), self.turn(self.k(h))
        h = h + torch.softmax(q @ k.transpose(1, 2) / 12**0.5, -1) @ self.v(h)
        return self.give(torch.tanh(h)).unflatten(2, (17, 3))


@pytest.mark.spine
@pytest.mark.fault(first="a table of rotary speeds is averaged in pairs")
@pytest.mark.parametrize("method", ["match", "project"])
def test_constants_stay_without_leave(method: str) -> None:
    """The result commutes and has the speeds of the original, or it is refused."""
    linear = BY_NAME["linear"]
    case = Case("rotary", Rotary, linear.spec, ((2, 4, 17, 2),), linear.turns_in, linear.turns_out)
    model = case.model()
    try:
        result = chiralize.chiralize(model, case.spec, case.inputs(), method=method)
    except ChiralizeError as error:
        assert error.exit_status == 3
        return
    assert torch.equal(state_of(result)["speeds"], state_of(model)["speeds"])
    assert residual(result, case) <= ROUNDING


class Deep(nn.Module):
    """Two branches of many layers that meet; behind them a convolution runs along the joints."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.first, self.second, self.last = nn.Linear(10, 4), nn.Linear(10, 4), nn.Linear(8, 10)
        self.along = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x.flatten(1)), self.second(x.flatten(1))
        for _ in range(self.layers):
            a, b = torch.relu(a), torch.relu(b)
        y = self.last(torch.cat([a, b], 1)).unflatten(1, (5, 2))
        return self.along(y.transpose(1, 2)).transpose(1, 2)


@pytest.mark.spine
@pytest.mark.fault(first="branches of 1,050 layers that meet before a refusal end in a RecursionError")
def test_deep_branches_are_refused_in_order() -> None:
    """The refusal is that of the convolution, however deep the network before it is."""
    spec = {"skeleton": SPEC["skeleton"], "inputs": [{"layout": "b j d"}], "outputs": [{"layout": "b j d"}]}
    with pytest.raises(ChiralizeError) as raised:
        chiralize.chiralize(scrambled(Deep(1050)), spec, poses(2), method="match")
    assert (raised.value.code, raised.value.exit_status) == ("CH302", 3)


class Tupled(nn.Module):
    """The only argument is a tuple of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(10, 8), nn.Linear(10, 8), nn.Linear(16, 3)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        x, m = inputs
        return self.out(torch.relu(torch.cat([self.a(x.flatten(1)), self.b(m.flatten(1))], 1)))


@pytest.mark.doors
@pytest.mark.fault(first="an example that is one tuple is flattened")
@pytest.mark.parametrize("kind", [tuple, list])
def test_one_tuple_as_the_only_argument(shell: Shell, kind: type) -> None:
    source = "from torch import Tensor, nn\nimport torch\n" + inspect.getsource(Tupled)
    Path("tupled.py").write_text(source)
    torch.save(scrambled(Tupled()).state_dict(), "tupled.pt")
    torch.save((kind((poses(1), poses(1, 2))),), "example.pt")
    two = 'inputs: [{layout: "b j d"}, {layout: "b j d"}]\noutputs: [{invariant: true}]\n'
    Path("two.yaml").write_text(BODY + two)
    line = "convert tupled.pt --model tupled:Tupled --skeleton two.yaml --example example.pt --method average"
    shell.works(f"{line} -o out.pt2")
    assert shell("verify out.pt2").status == 0


SCRIPTED = """\
from torch import nn


class Policy(nn.Module):
    def __init__(this):
        super().__init__()
        this.body = nn.Sequential(nn.Linear(15, 16), nn.ELU(), nn.Linear(16, 6))

    def forward(this, seen):
        return this.body(seen)
"""


@pytest.mark.doors
@pytest.mark.fault(first="a script whose self has another name is not read; its average wants a batch")
@pytest.mark.parametrize("name", ["this", "self"])
def test_scripts_are_called_as_before(shell: Shell, name: str) -> None:
    """A robot's loop calls a policy with one observation, without a batch; so it may call the average."""
    Path("scripted.py").write_text(SCRIPTED.replace("this", name))
    importlib.invalidate_caches()
    sys.modules.pop("scripted", None)
    net = scrambled(importlib.import_module("scripted").Policy())
    torch.jit.save(torch.jit.script(net), "policy.pt")
    case = BY_NAME["policy"]
    Path("robot.json").write_text(json.dumps({k: v for k, v in case.spec.items() if k != "hidden"}))
    shell.works("convert policy.pt --skeleton robot.json --method average --input-shape 1,15 -o out.pt")
    result = torch.jit.load("out.pt")
    seen = torch.randn(15)
    turn_in, turn_out = case.turns_in[0], case.turns_out[0]
    assert turn_in is not None and turn_out is not None
    by_hand = (net(seen) + turn_out(net(turn_in(seen)))) / 2
    assert torch.allclose(result(seen), by_hand, atol=1e-5)


@pytest.mark.doors
@pytest.mark.fault(first="joints with a slash in their names get no gap in the audit's picture")
def test_joints_with_a_slash_are_drawn(shell: Shell) -> None:
    """The page has the same numbers, whatever the joints are called."""
    pages = []
    for name, letter in (("plain", "_"), ("slashed", "/")):
        bones = ", ".join(f"[head, {side}_{limb}]" for side in ("left", "right") for limb in ("hand", "foot"))
        text = f"{BODY}edges: [{bones}]\ninputs: [{{layout: b j d}}]\noutputs: [{{layout: b j d}}]\n"
        text = text.replace("left_", f"left{letter}").replace("right_", f"right{letter}")
        Path(f"{name}.yaml").write_text(text)
        shell.works(f"audit good.pt2 --skeleton {name}.yaml --report {name}.html")
        pages.append(Path(f"{name}.html").read_text())
    plain, slashed = (Counter(re.findall(r"\d+\.\d+", page)) for page in pages)
    assert plain == slashed and len(plain) > 5


# ---- files ------------------------------------------------------------------------------------------------------
@pytest.mark.spine
@pytest.mark.fault(first="the mirror of a .pt lies in a file beside it")
def test_no_file_lies_beside_the_result(shell: Shell) -> None:
    """Weights know their mirror wherever they are moved to."""
    before = set(shell.files())
    shell.works("convert weights.pt --model nets:Lifter --skeleton lifter.yaml --method match -o out.pt")
    assert set(shell.files()) - before == {"out.pt"}
    Path("elsewhere").mkdir()
    Path("out.pt").rename("elsewhere/moved.pt")
    assert shell("verify elsewhere/moved.pt --model nets:Lifter").status == 0


@pytest.mark.spine
@pytest.mark.fault(first="a program whose record of a weight is empty is read as zeros")
@pytest.mark.parametrize("command", ["verify", "convert"])
def test_empty_record_is_damage(shell: Shell, command: str) -> None:
    with_member(Path("good.pt2"), Path("hollow.pt2"), "data/weights/weight_0", b"")
    result = shell(f"{command} hollow.pt2 --skeleton lifter.yaml")
    assert result.status == 2 and "CH201" in result.err


@pytest.mark.spine
@pytest.mark.fault(first="where layers are timed for the first time, torch's random numbers move on")
def test_random_numbers_stay_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A script that converts in between draws the same numbers as one that does not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    net = scrambled(Flat(perceptron(34, 512, 512, 51)))
    x = torch.randn(3, 17, 2)
    before = torch.random.get_rng_state()
    chiralize.chiralize(net, "h36m", x, method="match")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not list(tmp_path.rglob("*")), "nothing is stored in the user's home"


@pytest.mark.doors
@pytest.mark.fault(first="a script with an attribute called save is refused as unsafe")
def test_words_in_a_script_are_no_crime(shell: Shell) -> None:
    Path("saving.py").write_text(SCRIPTED.replace("this.body", "this.save").replace("this", "self"))
    importlib.invalidate_caches()
    sys.modules.pop("saving", None)
    torch.jit.save(torch.jit.script(scrambled(importlib.import_module("saving").Policy())), "policy.pt")
    Path("robot.json").write_text(json.dumps({k: v for k, v in BY_NAME["policy"].spec.items() if k != "hidden"}))
    shell.works("convert policy.pt --skeleton robot.json --method average --input-shape 1,15 -o out.pt2")


@pytest.mark.doors
@pytest.mark.fault(first="what `show` prints of a robot is no file that `lint` takes")
@pytest.mark.parametrize("name", ["g1-47", "ant-v5"])
def test_shown_robots_are_specifications(shell: Shell, name: str) -> None:
    Path("mine.yaml").write_text(shell.works(f"skeleton show {name} --format json").out)
    shell.works("skeleton lint mine.yaml")


@pytest.mark.doors
@pytest.mark.fault(first="a skeleton is not shown in words where torch is missing")
def test_skeletons_are_shown_without_torch(tmp_path: Path) -> None:
    """The commands on skeletons need no torch: an import of it fails here."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for words in ("list", "show h36m", "show ant-v5", "lint h36m"):
        command = [sys.executable, "-m", "chiralize", "skeleton", *words.split()]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert done.returncode == 0, done.stderr

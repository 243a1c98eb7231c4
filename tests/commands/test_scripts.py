"""TorchScript comes back as TorchScript: the same code, methods and attributes, once or for both views."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import chiralize
from chiralize.commands import scripts
from chiralize.errors import ParityError, UsageError
from chiralize.storage.load import CERTIFICATE
from tests.support import script_nets
from tests.support.command import BODY, Shell, mirrored, poses, working_shell
from tests.support.script_nets import (
    FLAT,
    HandsState,
    LopsidedReset,
    Mlp,
    Nested,
    Policy,
    Remembers,
    TakesGoal,
    load,
    save,
)

RUN_ELSEWHERE = """
import sys
sys.modules["chiralize"] = None  # an import of it fails
import torch
policy = torch.jit.load(sys.argv[1])
x = torch.linspace(-1, 1, 10).reshape(1, 10)
first = [policy(x) for _ in range(3)]
policy.reset_memory()
again = [policy(x) for _ in range(3)]
assert all(torch.equal(*pair) for pair in zip(first, again))
assert not torch.equal(first[0], first[1])
print(policy.gain, policy.robot, policy.joints(), float(first[2].sum()))
"""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    (tmp_path / "flat.yaml").write_text(FLAT, encoding="utf-8")
    yield from working_shell(tmp_path, capsys, monkeypatch)


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """T on "... (joint coord)", written out."""
    return mirrored(tensor.unflatten(-1, (5, 2))).flatten(-2)


def averages(script: Any, calls: list[torch.Tensor]) -> list[torch.Tensor]:
    """(f(x) + T f(T x)) / 2 along a sequence, each view with a copy of its own."""
    one, other = script.__deepcopy__({}), script.__deepcopy__({})
    with torch.no_grad():
        return [0.5 * (one(call) + flat(other(flat(call)))) for call in calls]


def calls_of(count: int = 6) -> list[torch.Tensor]:
    return [poses(1, seed=seed).flatten(1) for seed in range(count)]


def largest(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))


@pytest.fixture
def policy(shell: Shell) -> Any:
    script = script_nets.script_of(Policy())
    save(script, shell.folder / "policy.pt", **{"notes.txt": b"trained \xff\x00 long"})
    return script


@pytest.fixture
def of_few_ops(shell: Shell) -> Any:
    """A policy for what is the same whatever it computes."""
    script = script_nets.script_of(Remembers())
    save(script, shell.folder / "policy.pt", **{"notes.txt": b"trained \xff\x00 long"})
    return script


_CONVERTED: dict[tuple[str, bytes], bytes] = {}


def convert_policy(shell: Shell, method: str) -> None:
    """Put the converted policy into the folder; each is converted once by each method, for all tests."""
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--method", method, "--samples", "1", "--force")
    key = method, (shell.folder / "policy.pt").read_bytes()
    if key not in _CONVERTED:
        result = shell("convert", "policy.pt", *options, "-o", "chiral.pt")
        assert result.status == 0, result.err
        _CONVERTED[key] = (shell.folder / "chiral.pt").read_bytes()
    (shell.folder / "chiral.pt").write_bytes(_CONVERTED[key])


@pytest.mark.thorough
def test_average_of_a_policy(shell: Shell, policy: Any) -> None:
    result = shell("convert", "policy.pt", "--skeleton", "flat.yaml", "--input-shape", "1,10", "-o", "chiral.pt")
    assert result.status == 0, result.err
    assert "TorchScript: at most" in result.out
    assert "methods kept, each for both views: joints, reset_memory; T x and x still get the same" in result.out
    assert "methods kept but not tried, since they take arguments: clear" in result.out
    assert "methods that only the module's own methods call are those of views.0 and views.1: scaled" in result.out
    assert "once per view, as views.0 and views.1 of the file: cell_state, hidden_state" in result.out
    chiral, texts = load(shell.folder / "chiral.pt", "notes.txt", CERTIFICATE)
    assert texts["notes.txt"] == b"trained \xff\x00 long"
    passport = json.loads(texts[CERTIFICATE])
    assert passport["form"] == "two-view"
    assert passport["inputs"] == [{"tuple": [{"sizes": [1, 10], "kind": "float32"}]}, {"dict": {}}]
    assert (chiral.gain, chiral.robot, chiral.joints()) == (0.5, "walker", 5)
    for _ in range(2):
        with torch.no_grad():
            assert largest([chiral(call) for call in calls_of()], averages(policy, calls_of())) < 1e-6
        chiral.reset_memory()
    chiral.clear(0.5)
    with torch.no_grad():
        plain = [chiral(call) for call in calls_of()]
        chiral.clear(0.5)
        turned = [chiral(flat(call)) for call in calls_of()]
    assert largest([flat(answer) for answer in plain], turned) < 1e-6
    assert largest(plain, turned) > 0.01
    assert shell("verify", "chiral.pt").status == 0


def test_an_average_is_loaded_with_its_mirror(shell: Shell, of_few_ops: Any) -> None:
    """`load` gives it back, and it is proved and written again; a plain script takes no mirror of both views."""
    convert_policy(shell, "average")
    path = shell.folder / "chiral.pt"
    network = chiralize.load(path)
    assert chiralize.chirality(network).form == "two-view"
    assert chiralize.save(network, shell.folder / "again.pt2", (calls_of(1)[0],)).is_file()
    script, _ = load(path)
    assert chiralize.chirality(chiralize.attach(script, path)).form == "two-view"
    with pytest.raises(UsageError, match="it is of a network that runs both views, .* runs one"):
        chiralize.attach(of_few_ops, path)
    convert_policy(shell, "match")
    with pytest.raises(UsageError, match="the script runs both views, the mirror is of a network made by match"):
        chiralize.attach(script, path)


@pytest.mark.thorough
def test_weights_are_in_the_file_once(shell: Shell, policy: Any) -> None:
    convert_policy(shell, "average")
    chiral, _ = load(shell.folder / "chiral.pt")
    one, other = chiral.views.children()
    weights = zip(one.parameters(), other.parameters(), strict=True)
    assert all(first.data_ptr() == second.data_ptr() for first, second in weights)
    assert one.hidden_state.data_ptr() != other.hidden_state.data_ptr()


@pytest.mark.thorough
@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["average", "match"])
def test_verified_without_further_options(method: str, shell: Shell, of_few_ops: Any) -> None:
    convert_policy(shell, method)
    result = shell("verify", "chiral.pt")
    assert (result.status, result.err) == (0, "")
    assert "equivariant: proved op by op" in result.out


@pytest.mark.thorough
@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "project"])
def test_new_weights_in_the_same_script(method: str, shell: Shell, policy: Any) -> None:
    convert_policy(shell, method)
    chiral, texts = load(shell.folder / "chiral.pt", "notes.txt")
    assert texts["notes.txt"] == b"trained \xff\x00 long"
    assert str(chiral.code) == str(policy.code)
    before, after = policy.state_dict(), chiral.state_dict()
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert not torch.equal(before["actor.0.weight"], after["actor.0.weight"])
    with torch.no_grad():
        plain = [chiral(call) for call in calls_of()]
        chiral.reset_memory()
        turned = [chiral(flat(call)) for call in calls_of()]
    assert largest([flat(answer) for answer in plain], turned) < 1e-6


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["average", "match"])
def test_runs_where_chiralize_is_not_installed(method: str, shell: Shell, of_few_ops: Any) -> None:
    convert_policy(shell, method)
    command = [sys.executable, "-c", RUN_ELSEWHERE, "chiral.pt"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=shell.folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("0.5 walker 5 ")


@pytest.mark.thorough
@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["auto", "match"])
def test_traced(method: str, shell: Shell) -> None:
    script = script_nets.script_of(Mlp(), poses(2).flatten(1))
    save(script, shell.folder / "mlp.pt")
    options = ("--skeleton", "flat.yaml", "--input-shape", "2,10", "--method", method)
    result = shell("convert", "mlp.pt", *options, "-o", "chiral.pt")
    assert result.status == 0, result.err
    chiral, _ = load(shell.folder / "chiral.pt")
    x = poses(7).flatten(1)
    with torch.no_grad():
        assert largest([flat(chiral(x))], [chiral(flat(x))]) < 1e-6
        if method == "auto":  # without a state one copy of the network serves both views
            assert len(list(chiral.views.children())) == 1
            assert largest([chiral(x)], averages(script, [x])) < 1e-6
    assert shell("verify", "chiral.pt").status == 0


NESTED = BODY + (
    'inputs: [{layout: "b j d"}, {free: true}]\noutputs: [{layout: "b j d"}, {layout: "b j d"}, {free: true}]\n'
)


@pytest.mark.thorough
def test_dictionaries_and_optional_arguments(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given in Python, since no option of the command line says what is in a dictionary."""
    from chiralize.body.tensors import parse_spec
    from chiralize.commands.convert import Request, convert
    from chiralize.problem.preparation import prepare
    from chiralize.storage.load import load_model

    script = script_nets.script_of(Nested())
    loaded = load_model(save(script, shell.folder / "nested.pt"))
    obs = {"pose": poses(2), "speed": torch.ones(2, 1)}
    network = prepare(loaded.module, parse_spec(NESTED), (obs,))
    conversion = convert(network, "nested", Request("average", samples=2))
    scripts.write_script(conversion, network, loaded, shell.folder / "chiral.pt")
    chiral, _ = load(shell.folder / "chiral.pt")
    assert chiral.version == 3
    assert torch.equal(chiral.offset, script.offset)
    turned = {"pose": mirrored(obs["pose"]), "speed": obs["speed"]}
    with torch.no_grad():
        (pose, more), (pose_of_turned, more_of_turned) = chiral(obs), chiral(turned)
        ours, theirs = script(obs), script(turned)
        scaled, _ = chiral(obs, None, 2.0)
    assert list(more) == ["pose", "speed"]
    assert (
        largest([mirrored(pose), mirrored(more["pose"]), more["speed"]], [pose_of_turned, *more_of_turned.values()])
        < 1e-6
    )
    assert largest([pose], [0.5 * (ours[0] + mirrored(theirs[0]))]) < 1e-6
    assert torch.equal(scaled, 2.0 * pose)
    with pytest.raises(Exception, match="the keys"), torch.no_grad():
        chiral({**obs, "more": obs["pose"]})
    with pytest.raises(Exception, match="was None in the conversion"), torch.no_grad():
        chiral(obs, torch.ones(1))
    assert shell("verify", "chiral.pt").status == 0


STATES = BODY + ('inputs: [{layout: "b (j d)"}, {state: true}]\noutputs: [{layout: "b (j d)"}, {state: true}]\n')


def test_states_that_are_arguments(shell: Shell) -> None:
    script = script_nets.script_of(HandsState())
    save(script, shell.folder / "gru.pt")
    (shell.folder / "states.yaml").write_text(STATES, encoding="utf-8")
    shapes = ("--input-shape", "2,10", "--input-shape", "2,6")
    options = ("--skeleton", "states.yaml", *shapes, "--samples", "1")
    result = shell("convert", "gru.pt", *options, "-o", "chiral.pt")
    assert result.status == 0, result.err
    chiral, _ = load(shell.folder / "chiral.pt")
    assert len(list(chiral.views.children())) == 1
    both, ours, theirs = torch.zeros(2, 12), torch.zeros(2, 6), torch.zeros(2, 6)
    with torch.no_grad():
        for seed in range(3):
            x = poses(2, seed=seed).flatten(1)
            answer, both = chiral(x, both)
            one, ours = script(x, ours)
            other, theirs = script(flat(x), theirs)
            assert largest([answer, both], [0.5 * (one + flat(other)), torch.cat([ours, theirs], -1)]) < 1e-6
    assert shell("verify", "chiral.pt").status == 0


# ---- what is refused --------------------------------------------------------------------------------------------
def test_reset_to_a_lopsided_state(shell: Shell) -> None:
    """Forward never reads where the reset goes to, so that no method makes it symmetric: only the average will do."""
    save(script_nets.script_of(LopsidedReset()), shell.folder / "policy.pt")
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--samples", "1", "--method")
    result = shell("convert", "policy.pt", *options, "match", "-o", "chiral.pt")
    assert result.status == 1
    assert "ParityError CH403  chiral.pt: after reset_memory() answers to x and T x differ by" in result.err
    assert "or use --method average" in result.err
    assert not (shell.folder / "chiral.pt").exists()


@pytest.mark.thorough
def test_an_average_is_reset_to_a_lopsided_state(shell: Shell) -> None:
    """The remedy that the refusal names."""
    save(script_nets.script_of(LopsidedReset()), shell.folder / "policy.pt")
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--method", "average")
    assert shell("convert", "policy.pt", *options, "-o", "chiral.pt").status == 0


def test_methods_that_take_tensors(shell: Shell) -> None:
    save(script_nets.script_of(TakesGoal()), shell.folder / "policy.pt")
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--method", "average", "--samples", "1")
    result = shell("convert", "policy.pt", *options, "-o", "chiral.pt")
    assert result.status == 3
    assert "ExportError CH309  TorchScript: the method 'set_goal' takes or returns tensors" in result.err
    assert "use chiral.pt2, into which the converted network has been written, or use --method match or" in result.err
    assert not (shell.folder / "chiral.pt").exists()
    graph = shell("convert", "policy.pt", *options, "-o", "graph.pt2")
    assert graph.status == 0
    lost = "graph.pt2 is a graph without the methods of the TorchScript file (clear, joints, reset_memory, set_goal)"
    assert f"{lost}: -o NAME.pt keeps them" in graph.out


def test_results_of_another_shape(shell: Shell, of_few_ops: Any) -> None:
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--method", "reduce", "--width", "0.7")
    result = shell("convert", "policy.pt", *options, "-o", "chiral.pt")
    assert result.status == 2
    assert "at width 0.7 the result is a graph, .pt holds the original's code" in result.err


@pytest.mark.parametrize("method", ["average", pytest.param("match", marks=pytest.mark.thorough)])
def test_nothing_is_written_that_computes_something_else(
    method: str, shell: Shell, of_few_ops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_bytes = scripts.script_bytes

    def other_bytes(script: Any, extra: Any) -> bytes:
        with torch.no_grad():
            next(script.parameters()).add_(1e-3)
        return true_bytes(script, extra)

    monkeypatch.setattr(scripts, "script_bytes", other_bytes)
    options = ("--skeleton", "flat.yaml", "--input-shape", "1,10", "--method", method, "--samples", "1")
    result = shell("convert", "policy.pt", *options, "-o", "chiral.pt")
    assert result.status == 1
    assert f"{ParityError.code}  chiral.pt: the TorchScript is " in result.err
    assert not (shell.folder / "chiral.pt").exists()

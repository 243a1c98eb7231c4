"""The table of `docs/files.md`: the command as one types it first, on every kind of file that people have.

Where it does not work, the message's own command is typed next, with a name of the user's in place of the placeholder.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import nn

from chiralize.__main__ import main
from chiralize.storage.missing import PLACEHOLDER
from tests.support.command import MODULE, poses, save_program, save_script, save_weights, scrambled, write_sources
from tests.support.trainer_files import optimizer_state, save_folder, save_sb3, trainers_classes

POLICY = """

class Policy(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(10, 16), torch.nn.ELU(), torch.nn.Linear(16, 10))
"""
LITERAL = "--skeleton lifter.yaml --method match"
FLAT = "--skeleton flat.yaml --method match"
BEGIN, END = "<!-- made by python -m tests.support.file_table -->\n", "<!-- end -->\n"
AGAIN = ("--key", "--prefix")
UNPACKERS = ("gzip", "tar")


class Kind(NamedTuple):
    """A kind of file: in words, its name here, what writes it, and whether `-o` writes a file like it.

    skeleton: the words of the command that say what the network is of.  network: the user's class.
    """

    words: str
    file: str
    write: Callable[[Path, nn.Module], object]
    goes_back: bool = True
    skeleton: str = LITERAL
    network: str = "Lifter"


def _perceptron() -> dict[str, torch.Tensor]:
    net = scrambled(nn.Sequential(nn.Linear(10, 16), nn.ELU(), nn.Linear(16, 10)))
    return {f"actor.{name}": tensor for name, tensor in net.state_dict().items()}


def _saved(make: Callable[[nn.Module], object]) -> Callable[[Path, nn.Module], object]:
    return lambda path, net: torch.save(make(net), path)


def _prefixed(net: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in net.state_dict().items()}


def _lightning(path: Path, net: nn.Module) -> None:
    with trainers_classes() as classes:
        rest = {"callbacks": classes["History"](), "optimizer_states": [optimizer_state()]}
        version, state = {"pytorch-lightning_version": "2.6"}, {"state_dict": _prefixed(net, "model.")}
        torch.save({**version, **state, **rest}, path)


def _mmengine(path: Path, net: nn.Module) -> None:
    with trainers_classes() as classes:
        hub = {"history": classes["History"]()}
        torch.save({"meta": {}, "state_dict": _prefixed(net, "backbone."), "message_hub": hub}, path)


def _rsl_rl(path: Path, net: nn.Module) -> None:
    del net
    torch.save({"model_state_dict": {"std": torch.ones(10), **_perceptron()}, "iter": 3, "infos": None}, path)


def _onnx(path: Path, net: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # people have files of both exporters
        torch.onnx.export(net, (poses(3),), str(path), dynamo=False)


def _folder(path: Path, net: nn.Module) -> None:
    save_folder(path, config={"architectures": []})
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    safetensors.torch.save_file(state, path / "model.safetensors")


def _two_copies(path: Path, net: nn.Module) -> None:
    averaged = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 3, "model": net.state_dict(), "model_ema": averaged}, path)


def _sharded(path: Path, net: nn.Module) -> None:
    path.mkdir()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    table: dict[str, str] = {}
    for number, names in enumerate((list(state)[:3], list(state)[3:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file({name: state[name] for name in names}, path / file)
        table |= dict.fromkeys(names, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def _numbers(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def _gzipped(path: Path, net: nn.Module) -> None:
    save_program(net, path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    path.with_suffix("").unlink()


def _tarred(path: Path, net: nn.Module) -> None:
    save_script(net, path.parent / "policy.pt", False)
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "policy.pt", "policy.pt")
    (path.parent / "policy.pt").unlink()


def _log_folder(path: Path, net: nn.Module) -> None:
    inner = path / "version_0" / "checkpoints"
    inner.mkdir(parents=True)
    save_script(net, inner / "best.pt", False)
    torch.save(optimizer_state(), path / "optimizer.pt")


KINDS = (
    Kind("exported program", "net.pt2", lambda path, net: save_program(net, path), goes_back=False),
    Kind("TorchScript, traced", "traced.pt", lambda path, net: save_script(net, path, True)),
    Kind("TorchScript, scripted", "scripted.pt", lambda path, net: save_script(net, path, False)),
    Kind("ONNX", "net.onnx", _onnx),
    Kind("`state_dict`", "weights.pth", lambda path, net: save_weights(net, path)),
    Kind("`state_dict` of DataParallel", "parallel.pth", _saved(lambda net: _prefixed(net, "module."))),
    Kind("`state_dict` of torch.compile", "compiled.pth", _saved(lambda net: _prefixed(net, "_orig_mod."))),
    Kind("dict with a `state_dict`", "epoch.pth", _saved(lambda net: {"epoch": 3, "net": net.state_dict()})),
    Kind("safetensors", "net.safetensors", lambda path, net: save_weights(net, path)),
    Kind("pickled module", "module.pth", _saved(lambda net: net)),
    Kind("dict with a module", "best.pth", _saved(lambda net: {"epoch": 3, "model": net})),
    Kind("pickled DataParallel", "wrapped.pth", _saved(nn.DataParallel)),
    Kind("Lightning", "last.ckpt", _lightning),
    Kind("mmengine, mmcv", "epoch_1.pth", _mmengine),
    Kind("rsl_rl", "model_9.pt", _rsl_rl, skeleton=FLAT, network="Policy"),
    Kind("Stable-Baselines3", "policy.zip", lambda path, net: save_sb3(path, state=dict(net.state_dict()))),
    Kind("folder of Hugging Face", "hub", _folder),
    Kind("folder of weights in parts", "parts", _sharded),
    Kind(
        "one of those parts",
        "parts/model-00001-of-00002.safetensors",
        lambda path, net: _sharded(path.parent, net),
        False,
    ),
    Kind("folder of a run", "logs", _log_folder, goes_back=False),
    Kind("weights and their running average", "ema.pth", _two_copies),
    Kind("tuple of `state_dict`s", "agent.pth", _saved(lambda net: (net.state_dict(), net.state_dict()))),
    Kind("arrays of numpy", "net.npz", lambda path, net: np.savez(path, **_numbers(net)), False),  # type: ignore[arg-type]
    Kind(
        "pickle of arrays", "net.pkl", lambda path, net: path.write_bytes(pickle.dumps(_numbers(net))), goes_back=False
    ),
    Kind("pickle of a module", "whole.pkl", lambda path, net: path.write_bytes(pickle.dumps(net)), goes_back=False),
    Kind("gzip", "net.pt2.gz", _gzipped, goes_back=False),
    Kind("tar", "run.tar", _tarred, goes_back=False),
)


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    write_sources(folder)
    with (folder / f"{MODULE}.py").open("a", encoding="utf-8") as source:
        source.write(POLICY)
    text = (folder / "lifter.yaml").read_text(encoding="utf-8")
    (folder / "flat.yaml").write_text(text.replace("b j d", "b (j d)"), encoding="utf-8")
    sys.path.insert(0, str(folder))
    sys.modules.pop(MODULE, None)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)


def typed(command: str) -> tuple[int, str]:
    """Exit status and messages of a command line."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(shlex.split(command)[1:])
        except SystemExit as error:
            return int(error.code or 0), err.getvalue()
    raise AssertionError("main always exits")


def row(kind: Kind, folder: Path) -> str:
    """The row of a kind of file. Raises AssertionError where the second command does not work either."""
    with _in(folder):
        net = scrambled(importlib.import_module(MODULE).Lifter())
        kind.write(folder / kind.file, net)
        suffix = Path(kind.file).suffix if kind.goes_back else ".pt2"
        command = f"chiralize convert {kind.file} {kind.skeleton} -o out{suffix}"
        status, message = typed(command)
        tries = ["works" if not status else "says what is missing", ""]
        if status:
            tries[1] = f"works with {_outcomes(message, kind)}"
        back = f"`-o out{suffix}`" if kind.goes_back else ""
        assert Path(f"out{suffix}").exists()
    return f"| {kind.words} | `{kind.file}` | {tries[0]} | {tries[1]} | {back} |"


def _outcomes(message: str, kind: Kind, asked: tuple[str, ...] = ("--unsafe-pickle", "--model")) -> str:
    """What makes each of the commands of a message work.  Raises AssertionError where one does not.

    asked: the options that the message may ask for.
    """
    lines = [line.strip() for line in message.splitlines() if line.startswith("    ") and "Fix:" not in line]
    tools = [line for line in lines if line.split()[0] in UNPACKERS]
    for line in tools:
        subprocess.run(shlex.split(line), check=True)
    found = [_outcome(line, kind, asked) for line in lines if line.startswith("chiralize")]
    assert found, message
    first = "".join(f"`{line.split()[0]}`, then " for line in tools)
    return (first + " or ".join(dict.fromkeys(found))).removesuffix(", then ")


def _outcome(command: str, kind: Kind, asked: tuple[str, ...]) -> str:
    """The option or the file that makes a command work, and what its own message asks for."""
    command = command.replace(PLACEHOLDER, f"{MODULE}:{kind.network}")
    out = Path(shlex.split(command)[shlex.split(command).index("-o") + 1])
    if out.is_dir():
        shutil.rmtree(out)
    status, message = typed(command)
    used = [word for word in command.split() if word in asked]
    named = f"`{used[0]}`" if used else f"`{shlex.split(command)[2]}`"
    return named if not status else f"{named}, then {_outcomes(message, kind, AGAIN if used else asked)}"


def table(folder: Path) -> str:
    """The table, each row in a folder of its own."""
    head = "| kind of file | here | first try | its message's command | goes back |\n|---|---|---|---|---|\n"
    rows: list[str] = []
    for number, kind in enumerate(KINDS):
        place = folder / str(number)
        place.mkdir()
        rows.append(row(kind, place))
    return head + "\n".join(rows) + "\n"


def page_with(text: str, made: str) -> str:
    """The page with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{made}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "files.md"
    with TemporaryDirectory() as temporary:
        page.write_text(page_with(page.read_text(encoding="utf-8"), table(Path(temporary))), encoding="utf-8")

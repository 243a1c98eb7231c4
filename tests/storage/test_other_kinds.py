"""Files and folders that are no model by themselves: each message has the command to type instead; nothing is run."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from chiralize.errors import ChiralizeError, ModelFileError, UnsafeFileError, UsageError
from chiralize.storage import packed
from chiralize.storage.inert import Foreign, inert_tree, state_of
from chiralize.storage.load import load_model
from tests.support.trainer_files import FACTORY, Net, trainers_classes, weights


def said(path: Path, **options: Any) -> ChiralizeError:
    """The error, for a command that names the file as it is given."""
    with pytest.raises(ChiralizeError) as caught:
        load_model(path, command=f"chiralize convert {shlex.quote(str(path))} --skeleton s", **options)
    return caught.value


def commands(error: ChiralizeError) -> list[str]:
    return [line.strip() for line in error.remedy.splitlines()[1:]]


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


# ---- compressed files and archives ----------------------------------------------------------------------------------
def test_of_a_tar_only_names_inside_the_folder_are_offered(tmp_path: Path) -> None:
    path = tmp_path / "run.tar.gz"
    evil = ("/etc/x.pt", "../up.pt", "notes.txt", "\x1b[2J.pt", "x; touch was_run #.pt", "good/net.pt")
    with tarfile.open(path, "w:gz") as archive:
        for name in evil:
            archive.addfile(tarfile.TarInfo(name))
    error = said(path)
    assert error.facts == "is a tar archive packed by gzip with x; touch was_run #.pt, good/net.pt"
    assert commands(error) == [
        f"tar -xf {path}",
        "chiralize convert 'x; touch was_run #.pt' --skeleton s",
        "chiralize convert good/net.pt --skeleton s",
    ]


def test_of_a_bomb_the_beginning_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt.gz"
    path.write_bytes(gzip.compress(bytes(1 << 25)))
    heads: list[int] = []
    whole = packed._head
    monkeypatch.setattr(packed, "_head", lambda *given: heads.append(len(whole(*given))) or whole(*given))
    assert commands(said(path)) == [f"gzip -dk {path}", f"chiralize convert {path.with_suffix('')} --skeleton s"]
    assert heads == [1 << 16]
    path.write_bytes(b"\x1f\x8b damaged")
    assert "is packed by gzip" in said(path).facts


def test_a_zip_archive_with_a_model_and_one_without(tmp_path: Path) -> None:
    path = tmp_path / "it.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/net.pt", b"x")
    assert commands(said(path)) == [f"unzip {path}", "chiralize convert a/net.pt --skeleton s"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pkg/.data/extern_modules", b"x")
        archive.writestr("pkg/model.pkl", b"x")
    assert "torch.package" in said(path).facts and "state_dict" in said(path).remedy


OTHERS = {
    "TensorRT": (b"ftrt", "TensorRT", "what it was compiled from"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite", "tf2onnx.convert --tflite"),
    "ExecuTorch": (b"\x1c\0\0\0ET12", "ExecuTorch", "what it was compiled from"),
    "Keras": (b"\x89HDF", "HDF5", "tf2onnx.convert --keras"),
    "GGUF": (b"GGUF", "GGUF", "safetensors"),
    "git-lfs": (b"version https://git-lfs", "git-lfs pointer", "git lfs pull"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_files_of_other_programs(kind: str, tmp_path: Path) -> None:
    start, facts, remedy = OTHERS[kind]
    (tmp_path / "it").write_bytes(start + bytes(100))
    error = said(tmp_path / "it")
    assert facts in error.facts and remedy in error.remedy


# ---- folders, and parts of them -------------------------------------------------------------------------------------
def test_a_folder_of_a_run_offers_its_models_the_newest_first(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    for folder in (run / "a" / "b", outside):
        folder.mkdir(parents=True)
    for age, name in enumerate(("a/b/last.ckpt", "first.pt", "optimizer.pt", "notes.txt", "../outside/o.pt")):
        (run / name).write_bytes(b"x")
        os.utime(run / name, (1e9 - age, 1e9 - age))
    (run / "link").symlink_to(outside)
    error = said(run)
    assert error.facts == "is a folder, not a file; 2 files in it may be a model"
    assert commands(error) == [f"chiralize convert {run / name} --skeleton s" for name in ("a/b/last.ckpt", "first.pt")]


FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "distributed": ((".metadata", "__0_0.distcp"), "dcp_to_torch"),
    "TensorFlow": (("saved_model.pb",), "tf2onnx.convert --saved-model"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_of_other_programs(kind: str, tmp_path: Path) -> None:
    names, tool = FOLDERS[kind]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert tool in commands(said(tmp_path))[0] and commands(said(tmp_path))[1].startswith("chiralize convert ")


def test_parts_of_a_folder_name_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "ours"}))
    wanted = [f"chiralize convert {tmp_path} --skeleton s"]
    assert commands(said(tmp_path / "model.safetensors.index.json")) == wanted
    assert commands(said(tmp_path / "config.json")) == wanted
    (tmp_path / "other.json").write_text("{}")
    assert "a text file" in said(tmp_path / "other.json").facts


def test_source_code_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("import torch\n\nclass Own(torch.nn.Module):\n    pass\n")
    assert commands(said(tmp_path / "nets.py")) == ["chiralize convert WEIGHTS --skeleton s --model nets:Own"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    {
        "https://host.org/a/net.pt": "curl -LO https://host.org/a/net.pt",
        "user/lifter": "hf download user/lifter",
    }.items(),
)
def test_addresses_are_not_fetched(name: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert remedy in said(Path(name)).remedy


# ---- tables of weights ----------------------------------------------------------------------------------------------
def _optimizer() -> dict[str, Any]:
    optimizer = torch.optim.Adam(Net().parameters())
    return {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": optimizer.state_dict()["param_groups"]}


NO_WEIGHTS: dict[str, tuple[Callable[[], Any], str]] = {
    "optimizer": (_optimizer, "the state of an optimizer"),
    "list": (lambda: [torch.ones(2), torch.ones(3)], "2 tensors without names"),
    "tensor": (lambda: torch.ones(2), "one tensor without names"),
    "adapter": (lambda: {"a.lora_A.weight": torch.ones(1, 2), "a.lora_B.weight": torch.ones(2, 1)}, "adapter (LoRA)"),
    "nothing": (lambda: {"lr": 0.1}, "no table of weights"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_torch_files_without_weights(kind: str, tmp_path: Path) -> None:
    make, facts = NO_WEIGHTS[kind]
    torch.save(make(), tmp_path / "w.pt")
    error = said(tmp_path / "w.pt", factory=FACTORY)
    assert facts in error.facts and "--key" not in error.remedy


def test_entries_of_lists_and_under_numbers_go_by_key(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save((weights(), {1: weights(seed=1)}, _optimizer()), path)
    assert commands(said(path, factory=FACTORY))[1].endswith("--key 1.1")
    loaded = load_model(path, factory=FACTORY, key="1.1")
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights(seed=1)["first.weight"])


def test_marks_of_wrappers_are_taken_out(tmp_path: Path) -> None:
    marked = {name.replace(".", "._fsdp_wrapped_module.", 1): tensor for name, tensor in weights().items()}
    torch.save(marked, tmp_path / "w.pt")
    notes = load_model(tmp_path / "w.pt", factory=FACTORY).notes
    assert notes == ("took '_fsdp_wrapped_module.' (FSDP) out of the names",)


class OptimizedModule:
    """What torch.compile wraps a module in pickles itself like this."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return OptimizedModule, (self.module,)


def test_the_network_in_a_compiled_one_is_found() -> None:
    file = io.BytesIO()
    with trainers_classes():
        pickle.dump(OptimizedModule(torch.nn.Flatten()), file)
    tree = inert_tree(file.getvalue(), "it")
    assert isinstance(tree, Foreign) and isinstance(tree.state, dict)
    assert tree.state["_modules"]["_orig_mod"].origin.endswith("Flatten") and state_of(tree, "it") is None


# ---- arrays of numpy ------------------------------------------------------------------------------------------------
def _arrays(order: Literal["<", ">"] = "<") -> dict[str, np.ndarray]:
    return {name: value.numpy().astype(value.numpy().dtype.newbyteorder(order)) for name, value in weights().items()}


WRITERS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "w.npz": lambda path, table: np.savez(path, **table),
    "w.npy": lambda path, table: np.save(path, table, allow_pickle=True),  # type: ignore[arg-type]
    "w.pkl": lambda path, table: path.write_bytes(pickle.dumps(table)),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", WRITERS)
def test_weights_as_arrays(name: str, order: Literal["<", ">"], tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, _arrays(order))
    loaded = load_model(tmp_path / name, factory=FACTORY)
    assert all(torch.equal(value, weights()[own]) for own, value in loaded.module.state_dict().items())


@pytest.mark.parametrize("name", WRITERS)
def test_hostile_arrays_run_nothing(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    hostile = np.empty(1, dtype=object)
    hostile[0] = Touch(marker)
    WRITERS[name](tmp_path / name, {**_arrays(), "first.more": hostile})
    with pytest.raises(UnsafeFileError, match="mkdir"):
        load_model(tmp_path / name, factory=FACTORY)
    assert not marker.exists()


def test_arrays_without_names_of_weights_are_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "poses.npz", poses=np.ones((3, 2)))
    assert said(tmp_path / "poses.npz", factory=FACTORY).facts == "is an array file (.npz), not a model"


def test_a_plain_pickle_runs_by_consent_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(dict(weights())))
    error = said(path)
    assert isinstance(error, UnsafeFileError) and "plain pickle" in error.facts
    assert commands(error)[0].endswith(" --unsafe-pickle --model your_package.your_module:YourNet")
    loaded = load_model(path, factory=FACTORY, unsafe_pickle=True)
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    path.write_bytes(pickle.dumps(Net()))
    assert commands(said(path))[0].endswith(" --unsafe-pickle")
    assert type(load_model(path, unsafe_pickle=True).module) is Net
    path.write_bytes(b"\x80\x04 damaged")
    assert isinstance(said(path), ModelFileError) and not isinstance(said(path), UsageError)

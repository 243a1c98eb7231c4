"""Reading of models and arrays: what each format gives back, and how broken files and wrong options are refused."""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import textwrap
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from chiralize.errors import ChiralizeError, FactoryError, ModelFileError, NonFiniteError, UnsafeFileError, UsageError
from chiralize.storage.factory import fill_weights, parse_value
from chiralize.storage.load import certificate_in, load_model
from chiralize.storage.missing import layers
from chiralize.storage.patching import torch_patched
from chiralize.storage.sniff import sniff
from chiralize.storage.tables import Weights, nearest
from tests.support.array_bytes import npy, npz

FACTORY = "storage_example_net:Net"
SOURCE = """
    import torch

    class Net(torch.nn.Module):
        def __init__(self, joints=3, widths=(4,), name="x"):
            super().__init__()
            self.fc = torch.nn.Linear(joints, widths[0])
            self.norm = torch.nn.BatchNorm1d(widths[0])
            self.drop = torch.nn.Dropout()

        def forward(self, x):
            return self.drop(self.norm(self.fc(x)))

    def build_list():
        return [1]

    def broken():
        raise RuntimeError("no luck\\ntoday")

    def silent(graph=None):
        raise ValueError()

    number = 3
"""


@pytest.fixture(autouse=True)
def net_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's module in the current folder, which is not on the import path."""
    (tmp_path / "storage_example_net.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "storage_example_net", raising=False)
    path = [entry for entry in sys.path if entry not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", path)
    yield
    sys.modules.pop("storage_example_net", None)


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    parts = {"fc": torch.nn.Linear(3, 4), "norm": torch.nn.BatchNorm1d(4)}
    return torch.nn.ModuleDict(parts)


def state() -> dict[str, torch.Tensor]:
    return net().state_dict()


def check_message(error: ChiralizeError, *words: str) -> None:
    text = str(error)
    assert error.exit_status == 2
    assert "\n    Fix: " in text
    for word in words:
        assert word in text


# ---- formats ----------------------------------------------------------------------------------------------------
def write_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout())), path)


def write_program(path: Path) -> None:
    buffer = io.BytesIO()
    program = torch.export.export(torch.nn.Linear(3, 4).eval(), (torch.ones(2, 3),))
    torch.export.save(program, buffer, extra_files={"chirality.json": '{"a": 1}'})
    path.write_bytes(buffer.getvalue())


WRITERS: dict[str, Callable[[Path], Any]] = {
    "pt2": write_program,
    "torchscript": write_script,
    "state_dict": lambda path: torch.save(state(), path),
    "pickled_module": lambda path: torch.save(net(), path),
    "safetensors": lambda path: safetensors.torch.save_file(state(), path),
    "npy": lambda path: path.write_bytes(npy(np.ones(3))),
    "npz": lambda path: path.write_bytes(npz(a=np.ones(3))),
    "onnx": lambda path: path.write_bytes(b"\x08\x0a\x12\x07pytorch\x1a\x052.1.0"),
    "unknown": lambda path: path.write_bytes(b"hello"),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["right", "model.npy", "model.pt2"])
def test_sniff_goes_by_content(kind: str, name: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / name)
    assert sniff(tmp_path / name) == kind


def test_sniff_knows_files_of_old_torch(tmp_path: Path) -> None:
    path = tmp_path / "x"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    assert sniff(path) == "state_dict"
    torch.save(net(), path, _use_new_zipfile_serialization=False)
    assert sniff(path) == "pickled_module"


def test_program(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    write_program(path)
    loaded = load_model(path)
    assert loaded.format == "pt2" and loaded.exported is not None and loaded.source == path
    assert loaded.extra == {"chirality.json": '{"a": 1}'}
    assert loaded.example_args is not None and loaded.example_kwargs == {}
    expected = torch.export.load(io.BytesIO(path.read_bytes())).module()(*loaded.example_args)
    assert torch.equal(loaded.module(*loaded.example_args), expected)
    assert len(loaded.digest) == 64


def test_program_saved_for_a_gpu_comes_to_the_cpu(tmp_path: Path) -> None:
    plain, moved = tmp_path / "cpu.pt2", tmp_path / "cuda.pt2"
    write_program(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(moved, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".json"):
                data = data.replace(b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}')
            target.writestr(name, data)
    loaded = load_model(moved)
    assert {tensor.device.type for tensor in loaded.module.parameters()} == {"cpu"}
    assert loaded.module(torch.ones(2, 3)).shape == (2, 4)


def test_torchscript_comes_in_eval_mode(tmp_path: Path) -> None:
    write_script(tmp_path / "net.pt")
    loaded = load_model(tmp_path / "net.pt")
    assert loaded.format == "torchscript" and not loaded.module.training
    assert torch.equal(loaded.module(torch.ones(1, 3)), loaded.module(torch.ones(1, 3)))


@pytest.mark.parametrize("kind", ["state_dict", "safetensors"])
def test_weights_with_a_factory(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "w")
    loaded = load_model(tmp_path / "w", factory=FACTORY, factory_args={"joints": "3", "widths": "[4]"})
    assert not loaded.module.training and loaded.exported is None and loaded.notes == ()
    assert torch.equal(loaded.module.state_dict()["fc.weight"], state()["fc.weight"])
    assert str(tmp_path) not in sys.path


def test_certificate_travels_with_weights(tmp_path: Path) -> None:
    safetensors.torch.save_file(state(), tmp_path / "w.safetensors", metadata={"chirality": "{}"})
    assert load_model(tmp_path / "w.safetensors", factory=FACTORY).extra == {"chirality.json": "{}"}
    torch.save(state(), tmp_path / "w.pt")
    (tmp_path / "w.pt.chirality.json").write_text("[]")
    assert load_model(tmp_path / "w.pt", factory=FACTORY).extra == {"chirality.json": "[]"}


def test_weights_without_a_factory_show_the_command(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "w.pt")
    with pytest.raises(UsageError) as caught:
        load_model(tmp_path / "w.pt")
    command = f"chiralize convert {tmp_path / 'w.pt'} --model your_package.your_module:YourNet"
    check_message(caught.value, command, "7 weights", "fc.weight", "layers: Linear 3 -> 4 (fc)")


def test_checkpoint_entries(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    parallel = {f"module.{name}": tensor for name, tensor in state().items()}
    generator = np.random.RandomState(0)
    torch.save({"epoch": np.float64(3.5), "random_state": generator, "model_pos": parallel, "opt": {"lr": 1}}, path)
    loaded = load_model(path, factory=FACTORY)
    assert len(loaded.notes) == 2 and "'model_pos'" in loaded.notes[0] and "module." in loaded.notes[1]
    assert load_model(path, factory=FACTORY, key="model_pos").notes == loaded.notes[1:]
    with pytest.raises(ModelFileError) as caught:
        load_model(path, factory=FACTORY, key="model")
    check_message(caught.value, "no entry 'model'", "'model_pos'", str(path))


def test_two_tables_need_a_key(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    torch.save({"net": {"a": state(), "b": state()}, "ema": state(), "model": state()}, path)
    with pytest.raises(ModelFileError) as caught:
        load_model(path, factory=FACTORY)
    check_message(caught.value, "--key", "'ema' (table of", str(path))
    assert load_model(path, factory=FACTORY, key="net.b").notes == ()
    with pytest.raises(ModelFileError, match="not a table of tensors"):
        load_model(path, factory=FACTORY, key="net")


def test_whole_pickle_needs_consent(tmp_path: Path) -> None:
    torch.save(net().train(), tmp_path / "net.pt")
    with pytest.raises(UnsafeFileError) as caught:
        load_model(tmp_path / "net.pt", command="chiralize verify net.pt")
    check_message(caught.value, "torch.nn.modules.container.ModuleDict", "chiralize verify net.pt --unsafe-pickle")
    loaded = load_model(tmp_path / "net.pt", unsafe_pickle=True)
    assert loaded.format == "pickled_module" and not loaded.module.training


def test_the_weights_of_a_pickled_module_need_none_of_its_code(tmp_path: Path) -> None:
    """In a network that a factory builds; buffers that a state_dict would leave out are left out."""
    module = net()
    module.register_buffer("cache", torch.ones(2), persistent=False)
    torch.save(module, tmp_path / "net.pt")
    loaded = load_model(tmp_path / "net.pt", factory=FACTORY)
    assert all(torch.equal(loaded.module.state_dict()[name], tensor) for name, tensor in state().items())
    owner = "torch.nn.modules.container.ModuleDict"
    note = f"no code of the file ran: the weights of the {owner} in it were read into the network of {FACTORY}"
    assert loaded.notes == (note,)
    torch.save({"best": module, "history": argparse.Namespace()}, tmp_path / "net.pt")
    assert load_model(tmp_path / "net.pt", factory=FACTORY).notes[0] == note
    assert load_model(tmp_path / "net.pt", factory=FACTORY, key="best").notes == (note,)


def test_objects_beside_the_weights_are_named(tmp_path: Path) -> None:
    torch.save({"state": state(), "args": argparse.Namespace(rate=1e-3)}, tmp_path / "net.pt")
    assert load_model(tmp_path / "net.pt", factory=FACTORY, key="state").notes == (
        "no code of the file ran: its weights were read, its other objects were left as they are (argparse.Namespace)",
    )


# ---- factories --------------------------------------------------------------------------------------------------
WRONG_FACTORIES = {
    "no colon": ("storage_example_net.Net", {}, "package.module:attribute"),
    "a file": ("nets/lifter.py:Net", {}, r"name the module, not its file: --model nets.lifter:Net"),
    "no module": ("storage_example_nets:Net", {}, "cannot import 'storage_example_nets'"),
    "no attribute": ("storage_example_net:Nett", {}, "'Net'"),
    "not callable": ("storage_example_net:number", {}, "is a int"),
    "raises": ("storage_example_net:broken", {}, "RuntimeError: no luck today"),
    "raises without a word": ("storage_example_net:silent", {}, "`--arg name=value`: graph has no value yet."),
    "no module object": ("storage_example_net:build_list", {}, "returned a list"),
    "wrong argument": (FACTORY, {"bones": "3"}, "bones"),
    "wrong size": (FACTORY, {"joints": "5"}, "'fc.weight': network (4, 5), file (4, 3)"),
}


@pytest.mark.parametrize("case", WRONG_FACTORIES)
def test_wrong_factory(case: str, tmp_path: Path) -> None:
    factory, arguments, cause = WRONG_FACTORIES[case]
    torch.save(state(), tmp_path / "w.pt")
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", factory=factory, factory_args=arguments)
    check_message(caught.value, cause)
    assert len(str(caught.value).splitlines()) == 2


FAILING_MODULES = {
    "import os\nimport a_package_that_is_not_here.plots\n": (
        "(ModuleNotFoundError: No module named 'a_package_that_is_not_here'; {name}.py:2, import "
        "a_package_that_is_not_here.plots)",
        "install a_package_that_is_not_here beside chiralize",
    ),
    "x = 1 / 0\n": ("(ZeroDivisionError: division by zero; {name}.py:1, x = 1 / 0)", "mend {name}.py:1, or name a"),
    "x = (1\n": ("; {name}.py:1)", "mend {name}.py:1, or name a"),
    "import yaml\nyaml.safe_load('[')\n": ("; {name}.py:2, yaml.safe_load('['))", "mend {name}.py:2, or name a"),
}


@pytest.mark.parametrize("text", FAILING_MODULES)
def test_a_module_that_is_there_and_fails(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the user's that fails is named, and not the folder to run in; of one that is not there the folder."""
    name = f"failing_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    torch.save(state(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", factory=f"{name}:Net")
    facts, remedy = (words.format(name=name) for words in FAILING_MODULES[text])
    assert facts in caught.value.facts and remedy in caught.value.remedy and "now" not in caught.value.remedy
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", factory=f"{name}_of_none.nets:Net")
    assert "; else run in the folder that holds it (now " in caught.value.remedy
    assert "`PYTHONPATH=FOLDER chiralize ...`" in caught.value.remedy


def test_a_class_that_lies_below_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the files' text, which is not run; neither in hidden folders nor in those of an environment."""
    torch.save(state(), tmp_path / "w.pt")
    for name in ("below_model/infogcn.py", "below_model/other.py", ".git/infogcn.py", "venv/lib/infogcn.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit\nclass InfoGCN(nn.Module):\n    pass\n")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "below_model" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    both = "--model below_model.infogcn:InfoGCN or --model below_model.other:InfoGCN"
    remedies = {
        "infogcn:InfoGCN": f"InfoGCN is defined below this folder: {both}; else run in the folder that holds it",
        "other:InfoGCN": "InfoGCN is defined below this folder: --model below_model.other:InfoGCN or",
        "below_model:InfoGCN": f"InfoGCN is defined below this folder: {both}; else correct `--model`.",
        "infogcn:Nothing": "run in the folder that holds it",
    }
    for factory, remedy in remedies.items():
        with pytest.raises(FactoryError) as caught:
            load_model(tmp_path / "w.pt", factory=factory)
        assert caught.value.remedy.startswith(remedy), factory


def test_a_file_that_is_not_there_has_neighbours_of_its_kind(tmp_path: Path) -> None:
    for name in ("main.py", "mission.log", "missing.yaml", "missions.npz", "misses.pt2", "missing_ones"):
        (tmp_path / name).touch()
    nearest = {"missing.npy": "'missions.npz'", "misses.pt": "'misses.pt2'", "missing": "'missing_ones'"}
    for name, near in nearest.items():
        with pytest.raises(ModelFileError, match="no such file") as caught:
            load_model(tmp_path / name)
        assert caught.value.remedy == f"check the path; nearest name there: {near}."
    with pytest.raises(ModelFileError) as caught:
        load_model(tmp_path / "mai.npy")
    assert caught.value.remedy == "check the path."


def test_weights_of_another_network(tmp_path: Path) -> None:
    weights = {f"fc1.{name.split('.')[1]}" if name.startswith("fc") else name: t for name, t in state().items()}
    weights.update({f"extra.{index}": torch.ones(1) for index in range(6)})
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", factory=FACTORY)
    check_message(caught.value, "2 missing, 8 unexpected", "(nearest: 'fc1.weight')", "and 5 more", str(tmp_path))


class Wrapped(torch.nn.Module):
    """A network whose one part is the network that was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)


def test_weights_of_the_part_that_a_network_wraps() -> None:
    """Every name fits behind `inner.`; with one name more the file holds something else."""
    saved = torch.nn.Linear(3, 2).state_dict()
    with pytest.raises(FactoryError) as caught:
        fill_weights(Wrapped(), saved, "nets:Wrapped", "w.pt")
    assert caught.value.remedy == (
        "they are those of its part `inner` alone: make its class a subclass of that network, not a wrapper, or save "
        "them under its names, {'inner.' + name: tensor for name, tensor in weights.items()}"
    )
    with pytest.raises(FactoryError) as caught:
        fill_weights(Wrapped(), {**saved, "more": torch.ones(1)}, "nets:Wrapped", "w.pt")
    assert "its part" not in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17),
        ("3,3,3", (3, 3, 3)),
        ("[3, 3]", [3, 3]),
        ("true", True),
        ("0.5", 0.5),
        ("relu", "relu"),
        ("null", None),
    ],
)
def test_argument_values(text: str, value: object) -> None:
    assert parse_value("x", text) == value


def test_argument_that_is_not_yaml() -> None:
    with pytest.raises(UsageError, match="--arg x"):
        parse_value("x", "[1")
    with pytest.raises(UsageError):
        parse_value("x", "!!python/object/apply:os.system ['true']")


def test_factory_with_a_whole_network_is_a_contradiction(tmp_path: Path) -> None:
    write_program(tmp_path / "net.pt2")
    with pytest.raises(UsageError, match="--model"):
        load_model(tmp_path / "net.pt2", factory=FACTORY)


# ---- values -----------------------------------------------------------------------------------------------------
def test_non_finite_weights(tmp_path: Path) -> None:
    weights = state()
    weights["fc.weight"][0, 0] = float("nan")
    weights["norm.running_var"][:2] = float("inf")
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(NonFiniteError) as caught:
        load_model(tmp_path / "w.pt", factory=FACTORY)
    check_message(caught.value, "'fc.weight' (1 of 12)", "'norm.running_var' (2 of 4)", "w.pt")


def test_attention_mask_of_minus_infinity_is_meant_so(tmp_path: Path) -> None:
    class Masked(torch.nn.Module):
        mask: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.mask).softmax(-1)

    torch.export.save(torch.export.export(Masked(), (torch.ones(3, 3),)), tmp_path / "net.pt2")
    assert load_model(tmp_path / "net.pt2").format == "pt2"


# ---- broken model files -----------------------------------------------------------------------------------------
def truncated(writer: Callable[[Path], Any], keep: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        writer(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return write


BROKEN_MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "one byte": (lambda path: path.write_bytes(b"\x80"), "damaged"),
    "text": (lambda path: path.write_text("hello world"), "a text file starting 'hello world'"),
    "web page": (lambda path: path.write_text("<!DOCTYPE html>"), "a web page"),
    "git-lfs pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "random bytes": (lambda path: path.write_bytes(bytes(range(255, 0, -1))), "unknown kind"),
    "plain zip": (lambda path: _zip(path, {"a.txt": b"x"}), "a zip archive that is no model"),
    "damaged zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "truncated or damaged"),
    "half a program": (truncated(write_program, 0.5), "truncated or damaged"),
    "half a script": (truncated(write_script, 0.9), "truncated or damaged"),
    "half a state_dict": (truncated(WRITERS["state_dict"], 0.7), "truncated or damaged"),
    "half a safetensors": (truncated(WRITERS["safetensors"], 0.8), "truncated or damaged"),
    "safetensors header": (lambda path: path.write_bytes(struct.pack("<Q", 4000) + b"{}"), "truncated"),
    "safetensors json": (
        lambda path: path.write_bytes(struct.pack("<Q", 8) + b"{abcdefg" + bytes(9)),
        "not valid JSON",
    ),
    "safetensors nest": (
        lambda path: path.write_bytes(struct.pack("<Q", 100_005) + b'{"a":' + 100_000 * b"["),
        "not valid JSON",
    ),
    "onnx": (WRITERS["onnx"], "ONNX"),
    "array": (WRITERS["npy"], "an array file"),
    "list of tensors": (lambda path: torch.save([torch.ones(2)], path), "holds one tensor without names"),
    "nested weights": (
        lambda path: torch.save({"w": torch.nested.as_nested_tensor([torch.ones(2)], layout=torch.jagged)}, path),
        "'w' is a nested tensor",
    ),
    "sparse weights": (lambda path: torch.save({"w": torch.eye(2).to_sparse()}, path), "'w' is a sparse tensor"),
    "empty table": (lambda path: torch.save({}, path), "empty table"),
    "old torch file cut off": (
        truncated(lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False), 0.9),
        "truncated or damaged",
    ),
}


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("case", BROKEN_MODELS)
def test_broken_model_file(case: str, tmp_path: Path) -> None:
    write, cause = BROKEN_MODELS[case]
    path = tmp_path / "model.pt2"
    write(path)
    with pytest.raises(ModelFileError) as caught:
        load_model(path, factory=FACTORY if "weights" in case or "cut off" in case else None)
    check_message(caught.value, cause, str(path))


def test_weights_are_held_to_their_checksums(tmp_path: Path) -> None:
    """torch itself does not look at them. It can leave them out, and such a file is no damaged one."""
    path, other = tmp_path / "w.pth", tmp_path / "w2.pth"
    torch.save(state(), path)
    data = bytearray(path.read_bytes())
    data[bytes(data).index(state()["fc.weight"].numpy().tobytes()) + 2] ^= 64
    path.write_bytes(data)
    assert not torch.equal(torch.load(path)["fc.weight"], state()["fc.weight"])
    with pytest.raises(ModelFileError) as caught:
        load_model(path, factory=FACTORY)
    check_message(caught.value, "CRC-32", "damaged", str(path))
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), other)
    finally:
        torch.serialization.set_crc32_options(True)
    loaded = load_model(other, factory=FACTORY)
    assert torch.equal(loaded.module.state_dict()["fc.weight"], state()["fc.weight"])
    assert loaded.origin is not None
    doubled = {name: 2 * tensor for name, tensor in loaded.module.state_dict().items()}
    other.write_bytes(torch_patched(other.read_bytes(), loaded.origin, doubled, "w2.pth"))
    again = load_model(other, factory=FACTORY).module.state_dict()  # weights put back get no sums, either
    assert torch.equal(again["fc.weight"], doubled["fc.weight"])


def test_near_name_of_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "lifter.pt2").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"lifter\.pt2"):
        load_model(tmp_path / "liffter.pt2")


def test_a_layer_with_a_bias_is_no_embedding() -> None:
    weights = {"joints_embed.weight": torch.zeros(64, 3), "joints_embed.bias": torch.zeros(64)}
    assert layers(weights) == "layers: Linear 3 -> 64 (joints_embed)"
    assert layers({"class_embed.weight": torch.zeros(10, 8)}) == "layers: Embedding 10 x 8 (class_embed)"


def test_of_prefixes_that_are_alike_the_first_in_the_file_counts() -> None:
    """A message must not depend on the seed of Python's hashes."""
    weights = Weights("", {f"{prefix}.first.weight": torch.zeros(1) for prefix in "dbac"})
    assert nearest([weights], dict.fromkeys(["first.weight", "second.weight"])).prefix == "d."


@pytest.mark.parametrize("metadata", [["chirality"], "chirality", 5])
def test_texts_of_a_safetensors_file_that_are_no_table(metadata: object, tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": metadata}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert certificate_in(path) == {}

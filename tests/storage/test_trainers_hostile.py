"""Checkpoints of trainers that would run code for the trainer's own loader: read here and written, with none run."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize.errors import ChiralizeError, FactoryError, ModelFileError, UnsafeFileError, UsageError
from chiralize.storage import archive as archive_module
from chiralize.storage import bounds, inert
from chiralize.storage.load import load_model
from chiralize.storage.torch_file import TorchFile
from chiralize.storage.transformers_model import without_fetching
from chiralize.storage.writing_back import write_back
from tests.support.trainer_files import (
    CHECKPOINTS,
    FACTORY,
    NAMES,
    save,
    save_folder,
    save_sb3,
    torch_bytes,
    trainers_classes,
    weights,
)


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


class TouchOnState(dict):
    """The same, as a dict that is filled after it was made."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),), {"a": 1}, iter([1]), iter([("k", 2)])


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


@pytest.mark.parametrize("payload", [Touch, TouchOnState])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_objects_beside_the_weights_are_not_restored(
    name: str, payload: Callable[[Path], Any], marker: Path, tmp_path: Path
) -> None:
    """Nor by what writes the result; the payload works for torch.load, before and after."""
    file, build = CHECKPOINTS[name]
    path, target = tmp_path / file, tmp_path / f"out{Path(file).suffix}"
    with trainers_classes():
        old = not name.endswith("before 1.6")
        torch.save({**build(), "extra": [payload(marker)]}, path, _use_new_zipfile_serialization=old)
    loaded = load_model(path, factory=FACTORY)
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    assert loaded.origin is not None
    write_back(loaded.origin, loaded.module.state_dict(), target, "{}")
    assert not marker.exists() and "a_trainer" not in sys.modules
    for written in (path, target):
        with trainers_classes(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                torch.load(written, weights_only=False)
            except Exception:  # what mkdir returns cannot be filled
                pass
        assert marker.is_dir(), "the payload does not work, so the test would prove nothing"
        marker.rmdir()


def test_a_weight_that_is_an_object_is_refused(marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    table = {"pytorch-lightning_version": "2", "state_dict": {**weights(), "x": Touch(marker)}}
    torch.save(table, path)
    with pytest.raises(UnsafeFileError, match="mkdir"):
        load_model(path, factory=FACTORY)
    assert not marker.exists()


def test_pickles_in_the_json_of_sb3_are_not_loaded(marker: Path, tmp_path: Path) -> None:
    """Neither for a network of ours, nor where the class that the file names is asked for."""
    path = save_sb3(tmp_path / "policy.zip", pickle.dumps(Touch(marker)))
    loaded = load_model(path, factory=FACTORY)
    assert loaded.origin is not None
    write_back(loaded.origin, loaded.module.state_dict(), tmp_path / "out.zip", "{}")
    for factory in (None, "auto"):
        with pytest.raises(UsageError):
            load_model(path, factory=factory)
    with pytest.raises(UsageError):
        load_model(path, unsafe_pickle=True)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["stable_baselines3.a.b.Policies", "stable_baselines3_evil.x.Policy", "os.Policy"])
def test_only_policies_of_sb3_are_looked_up(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    blob = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"."
    before = set(sys.modules)
    with pytest.raises(UsageError, match="does not say of which class"):
        load_model(save_sb3(tmp_path / "policy.zip", blob), factory="auto")
    assert set(sys.modules) == before


def test_the_policy_of_sb3_is_read_as_any_checkpoint(marker: Path, tmp_path: Path) -> None:
    path = save_sb3(tmp_path / "policy.zip", state={**weights(), "x": Touch(marker)})
    with pytest.raises(UnsafeFileError, match=r"policy\.zip: policy\.pth.*mkdir"):
        load_model(path, factory=FACTORY)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["_target_", "_class_path", "class_path"])
def test_a_file_names_classes_of_networks_only(key: str, marker: Path, tmp_path: Path) -> None:
    """hydra's way of writing a class could name any function, and brings its arguments."""
    for name in ("os.mkdir", "os.makedirs", "pathlib.Path"):
        saved = {key: name, "path": str(marker), "name": str(marker)}
        path = tmp_path / "last.ckpt"
        torch.save({"pytorch-lightning_version": "2", "state_dict": weights(), "hyper_parameters": saved}, path)
        for factory in (None, "auto"):
            with pytest.raises((UsageError, FactoryError)) as caught:
                load_model(path, factory=factory)
            assert name in str(caught.value)
        assert not marker.exists()


def test_the_class_that_a_file_names_is_not_imported_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And built with what the file says, where it is asked for."""
    (tmp_path / "nets_of_a_file.py").write_text("from tests.support.trainer_files import Net\n")
    monkeypatch.chdir(tmp_path)
    saved = {"_target_": "nets_of_a_file.Net", "hidden": 4, "_convert_": "all"}
    torch.save({"pytorch-lightning_version": "2", "state_dict": weights(), "hyper_parameters": saved}, "last.ckpt")
    with pytest.raises(UsageError, match=r"(?s)import nets_of_a_file\.Net.*--model auto"):
        load_model("last.ckpt")
    assert "nets_of_a_file" not in sys.modules
    loaded = load_model("last.ckpt", factory="auto")
    sys.modules.pop("nets_of_a_file")
    assert loaded.notes[-1] == "built nets_of_a_file.Net, the class that the file names"
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])


# ---- folders ----------------------------------------------------------------------------------------------------
def test_code_that_a_config_names_is_never_run(marker: Path, tmp_path: Path) -> None:
    config = {"auto_map": {"AutoModel": "modeling_evil.Evil"}, "trust_remote_code": True}
    path = save_folder(tmp_path / "hub", config=config)
    (path / "modeling_evil.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    for options in ({}, {"factory": "auto"}, {"unsafe_pickle": True}):
        with pytest.raises(UsageError):
            load_model(path, **options)
    load_model(path, factory=FACTORY)
    assert not marker.exists() and "modeling_evil" not in sys.modules


def test_configs_fetch_nothing() -> None:
    config = {
        "hidden_size": 3,
        "_attn_implementation": "evil/kernel",
        "attn_implementation": "evil/kernel",
        "experts_implementation": "x",
        "use_kernels": True,
        "auto_map": {},
        "conv_kernel": [3],
        "backbone_config": {"use_pretrained_backbone": True, "trust_remote_code": True, "depth": [{"auto_map": 1}]},
    }
    left = {"hidden_size": 3, "conv_kernel": [3], "backbone_config": {"depth": [{}]}}
    assert without_fetching(config) == left


@pytest.mark.parametrize("shards", [1, 2])
def test_a_folder_of_pickles_runs_nothing(shards: int, marker: Path, tmp_path: Path) -> None:
    path = save_folder(tmp_path / "hub", shards=shards, suffix="bin")
    torch.save({"first.weight": Touch(marker)}, sorted(path.glob("*.bin"))[0])
    for consent in (False, True):
        with pytest.raises(UnsafeFileError, match="mkdir"):
            load_model(path, factory=FACTORY, unsafe_pickle=consent)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", 3])
def test_files_outside_of_the_folder_are_not_read(name: Any, tmp_path: Path) -> None:
    path = save_folder(tmp_path / "hub", shards=2)
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"first.weight": name}}))
    with pytest.raises(UnsafeFileError, match="not one of the folder's"):
        load_model(path, factory=FACTORY)


def put_torch_file(path: Path, value: Any) -> None:
    (path / "model.safetensors").unlink()
    torch.save(value, path / "pytorch_model.bin")


def put_broken_link(path: Path) -> None:
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to("../nowhere")


BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda path: torch.save(weights(), path / "model.safetensors"), "is no safetensors file"),
    "config": (lambda path: (path / "config.json").write_text("{"), "config.json: is not valid JSON"),
    "list": (lambda path: (path / "config.json").write_text("[]"), "config.json: is no table"),
    "nest": (lambda path: (path / "config.json").write_text("[" * 10**5), "config.json: is not valid JSON"),
    "broken link": (lambda path: put_broken_link(path), "is a folder, not a file"),
    "no table": (lambda path: put_torch_file(path, [torch.ones(2)]), "is no table of weights"),
    "no tensors": (lambda path: put_torch_file(path, {"first.weight": 3}), "is no table of weights"),
    "cut": (lambda path: os.truncate(path / "model.safetensors", 300), "truncated"),
}


@pytest.mark.parametrize("case", BROKEN_FOLDERS)
def test_broken_folder(case: str, tmp_path: Path) -> None:
    spoil, cause = BROKEN_FOLDERS[case]
    path = save_folder(tmp_path / "hub")
    spoil(path)
    with pytest.raises(ModelFileError, match=cause):
        load_model(path, factory=FACTORY)


def test_links_that_lead_out_are_not_copied(tmp_path: Path) -> None:
    """A copy could hand on what was never part of the model; links within the cache of Hugging Face are followed."""
    (tmp_path / "secret").write_text("key")
    snapshots = tmp_path / "cache" / "snapshots"
    snapshots.mkdir(parents=True)
    path = save_folder(snapshots / "hub")
    (tmp_path / "cache" / "blobs").mkdir()
    shutil.move(path / "README.md", tmp_path / "cache" / "blobs" / "0a1b")
    (path / "README.md").symlink_to("../../blobs/0a1b")
    (path / "notes").symlink_to(tmp_path / "secret")
    (path / "pipe").symlink_to("/dev/zero")
    loaded = load_model(path, factory=FACTORY)
    assert loaded.origin is not None
    notes = write_back(loaded.origin, loaded.module.state_dict(), tmp_path / "out", "{}")
    assert notes[1] == "left out notes, pipe: links that lead out of the folder"
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["README.md", "chirality.json", "config.json", "model.safetensors"]
    assert (tmp_path / "out" / "README.md").read_text() == "a model" and not (
        tmp_path / "out" / "README.md"
    ).is_symlink()


# ---- archives ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in NAMES if "before" not in name and "hugging" not in name])
def test_archives_that_deceive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members twice, names that lead out, bombs."""
    path = save(name, tmp_path)
    for spoil, cause in ((_twice, "two members bear the name"), (_outside, "outside its folder"), (_bomb, "bomb")):
        spoiled = tmp_path / f"spoiled{path.suffix}"
        shutil.copy(path, spoiled)
        spoil(spoiled)
        monkeypatch.setattr(archive_module, "LARGE_MEMBER_BYTES", 1 << 20)
        with pytest.raises(UnsafeFileError, match=cause):
            load_model(spoiled, factory=FACTORY)


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], b"x")


def _outside(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../x", b"x")


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{archive.namelist()[0].split('/')[0]}/zeros", bytes(8_000_000))


# ---- pickles by hand --------------------------------------------------------------------------------------------
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
FOREIGN = b"cevil\nEvil\n"


def file_with(entry: bytes, size: int = 16) -> bytes:
    """A torch file of {"w": <entry>, "x": a foreign class}, with one storage of 16 bytes."""
    pickled = b"\x80\x02}(X\x01\x00\x00\x00w" + entry + b"X\x01\x00\x00\x00x" + FOREIGN + b"u."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {"data.pkl": pickled, "version": b"3", "data/0": bytes(size)}.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def tensor(offset: int = 0, shape: bytes = b"K\x04\x85", strides: bytes = b"K\x01\x85") -> bytes:
    return TENSOR + b"(" + STORAGE + b"J" + struct.pack("<i", offset) + shape + strides + b"\x89}tR"


PICKLES: dict[str, tuple[bytes, str]] = {
    "more entries than bytes": (tensor(shape=b"K\x05\x85"), "needs 20 bytes of its storage, which has 16"),
    "beyond the end": (tensor(offset=1), "needs 20 bytes"),
    "before the start": (tensor(offset=-1), "cannot be read"),
    "negative stride": (tensor(strides=b"J\xff\xff\xff\xff\x85"), "cannot be read"),
    "enormous": (tensor(shape=b"J\xff\xff\xff\x7f\x85", strides=b"K\x00\x85"), "claims 2,147,483,647 entries"),
    "no storage": (TENSOR + b"(NK\x00))\x89}tR", "cannot be read"),
    "text for a size": (tensor(shape=b"X\x01\x00\x00\x004\x85"), "cannot be read"),
    "state for our function": (TENSOR + b"}X\x08\x00\x00\x00__code__Nsb", "cannot be read"),
    "slots of our function": (TENSOR + b"N}X\x0c\x00\x00\x00__defaults__Ns\x86b", "cannot be read"),
    "slots of a stand-in": (FOREIGN + b"N}X\x08\x00\x00\x00__init__Ns\x86b", "cannot be read"),
    "another storage": (tensor().replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"), "has no storage '9'"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_pickles_by_hand(case: str, tmp_path: Path) -> None:
    entry, cause = PICKLES[case]
    path = tmp_path / "w.pt"
    path.write_bytes(file_with(entry))
    with pytest.raises((ModelFileError, UnsafeFileError)) as caught:
        file = TorchFile(path.read_bytes(), str(path))
        file.tensor(file.tree["w"], "w")
    assert cause in str(caught.value)
    with pytest.raises(ChiralizeError):
        load_model(path, factory="torch.nn:Linear", factory_args={"in_features": "4", "out_features": "1"})
    assert "evil" not in sys.modules


def test_the_pickle_by_hand_is_right_without_an_attack() -> None:
    file = TorchFile(file_with(tensor()), "w.pt")
    assert torch.equal(file.tensor(file.tree["w"], "w"), torch.zeros(4))
    assert issubclass(file.tree["x"], inert.Foreign) and file.tree["x"].origin == "evil.Evil"


def test_a_storage_of_no_known_kind_is_no_tensor(tmp_path: Path) -> None:
    """As of quantized numbers; what it is of is not imported."""
    file = TorchFile(file_with(tensor().replace(b"FloatStorage", b"EvilStorage")), "w.pt")
    assert isinstance(file.tree["w"], inert.Foreign)


def test_lists_that_repeat_lists(tmp_path: Path) -> None:
    """10**9 parts in 100 bytes, within an object of somebody's as well."""
    value: list[Any] = []
    for _ in range(9):
        value = [value] * 10
    bomb = pickle.dumps(value, protocol=2)[2:-1]
    for entry in (bomb, b"cevil\nEvil\n)R" + bomb + b"b"):
        path = tmp_path / "w.pt"
        path.write_bytes(file_with(entry))
        with pytest.raises(UnsafeFileError, match=f"limit {bounds.MAX_PARTS:,}"):
            load_model(path, factory=FACTORY)


def test_modules_that_contain_themselves(tmp_path: Path) -> None:
    """A network whose part is the network."""
    module = b"cevil\nEvil\n)Rq\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb"
    path = tmp_path / "w.pt"
    path.write_bytes(file_with(module))
    with pytest.raises(ChiralizeError):
        load_model(path, factory=FACTORY)


def test_names_of_old_storages_import_nothing(marker: Path, tmp_path: Path) -> None:
    """Before 1.6 a second pickle said where the storages are."""
    path = tmp_path / "w.pth"
    with trainers_classes():
        torch.save(CHECKPOINTS["mmengine"][1](), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    keys = data.rindex(b"\x80\x02]")
    evil = pickle.dumps(Touch(marker), protocol=2)
    path.write_bytes(data[:keys] + evil + data[keys + len(evil) :])
    with pytest.raises(ModelFileError, match="among the names of its storages"):
        load_model(path, factory=FACTORY)
    path.write_bytes(data[:-9])
    with pytest.raises(ModelFileError, match="cut off"):
        load_model(path, factory=FACTORY)
    assert not marker.exists()


def test_the_other_order_of_bytes_is_refused(tmp_path: Path) -> None:
    """Before 1.6 the third pickle says so, since then a member."""
    path = save("mmengine before 1.6", tmp_path)
    data = path.read_bytes()
    assert data.count(b"little_endianq\x02\x88") == 1
    path.write_bytes(data.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"))
    with pytest.raises(ModelFileError, match="other byte order"):
        load_model(path, factory=FACTORY)
    with zipfile.ZipFile(save("mmengine", tmp_path)) as old, zipfile.ZipFile(tmp_path / "big.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("/byteorder") else old.read(name))
    with pytest.raises(ModelFileError, match="other byte order"):
        load_model(tmp_path / "big.pth", factory=FACTORY)


def test_consent_runs_what_nothing_else_can_read(marker: Path, tmp_path: Path) -> None:
    """And only that: weights that can be read without it are."""
    path = tmp_path / "last.ckpt"
    torch.save({"pytorch-lightning_version": "2", "state_dict": {**weights(), "x": Touch(marker)}}, path)
    with pytest.raises(ChiralizeError) as caught:
        load_model(path, factory=FACTORY, unsafe_pickle=True)
    assert marker.is_dir() and "--unsafe-pickle" not in str(caught.value)
    marker.rmdir()
    torch.save({"pytorch-lightning_version": "2", "state_dict": weights(), "x": Touch(marker)}, path)
    load_model(path, factory=FACTORY, unsafe_pickle=True)
    assert not marker.exists()


def test_certificates_are_not_obeyed(tmp_path: Path) -> None:
    """What stands in one beside the file is shown, and no code is imported for it."""
    path = save("mmengine", tmp_path)
    source = {"key": "state_dict", "prefix": "backbone.", "model": "evil_factory:run", "args": {"a": "1"}}
    path.with_name(f"{path.name}.chirality.json").write_text(json.dumps({"source": source}))
    with pytest.raises(UsageError, match="--model evil_factory:run --arg a=1"):
        load_model(path)
    with pytest.raises(UsageError):
        load_model(path, factory="auto")
    for nonsense in (3, {"key": 3, "prefix": [], "model": {}, "args": "x"}, None):
        path.with_name(f"{path.name}.chirality.json").write_text(json.dumps({"source": nonsense}))
        load_model(path, factory=FACTORY)


def test_base64_is_not_trusted(tmp_path: Path) -> None:
    path = save_sb3(tmp_path / "policy.zip", base64.b64encode(b"\x80"))
    with pytest.raises(UsageError):
        load_model(path, factory="auto")
    assert torch_bytes(None)

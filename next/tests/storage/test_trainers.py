"""Checkpoints of trainers: their weights are read, and go back into such a file with everything else as it was."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chiralize.errors import ChiralizeError, FactoryError, ModelFileError, UsageError
from chiralize.storage.load import Loaded, Wanted, load_model
from chiralize.storage.passport import Passport
from chiralize.storage.save import write
from tests.support.trainer_files import CHECKPOINTS, Net, save, trainers_classes, weights


def changed(loaded: Loaded) -> torch.nn.Module:
    """The network with other weights."""
    with torch.no_grad():
        for tensor in loaded.module.state_dict().values():
            tensor += 1 if tensor.is_floating_point() else 0
    return loaded.module


def put_back(loaded: Loaded, target: Path, passport: Passport, module: torch.nn.Module | None = None) -> None:
    result: Any = SimpleNamespace(module=module or changed(loaded), program=None, passport=passport)
    write(result, target, loaded)


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_weights_are_read(name: str, old: bool, tmp_path: Path) -> None:
    loaded = load_model(save(name, tmp_path, old=old), Wanted(Net))
    assert loaded.kind == "weights" and not loaded.module.training
    assert all(torch.equal(loaded.module.state_dict()[key], tensor) for key, tensor in weights().items())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_they_go_back(name: str, tmp_path: Path, passport: Passport) -> None:
    """A trainer reads the result, objects of its own included; all but the weights is as it was, and so is the file."""
    path = save(name, tmp_path)
    before, target = path.read_bytes(), tmp_path / f"out{path.suffix}"
    loaded = load_model(path, Wanted(Net))
    put_back(loaded, target, passport)
    assert path.read_bytes() == before
    again = load_model(target, Wanted(Net))
    assert again.passport == passport
    assert all(torch.equal(again.module.state_dict()[key], each) for key, each in loaded.module.state_dict().items())
    with zipfile.ZipFile(path) as first, zipfile.ZipFile(target) as second:
        assert second.testzip() is None
        assert set(second.namelist()) - set(first.namelist()) == {
            f"{first.namelist()[0].split('/')[0]}/extra/chirality.json"
        }
        differing = [member for member in first.namelist() if first.read(member) != second.read(member)]
    assert len(differing) == sum(tensor.is_floating_point() for tensor in weights().values())
    with trainers_classes():
        torch.load(target, weights_only=False)
        torch.load(target, weights_only=False, mmap=True)


def test_an_old_file_without_objects_goes_back_as_a_zip(tmp_path: Path, passport: Passport) -> None:
    path = save("rsl_rl since 4", tmp_path, old=True)
    put_back(load_model(path, Wanted(Net)), tmp_path / "out.pt", passport)
    table = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(table["actor_state_dict"]["first.weight"], weights()["first.weight"] + 1)
    assert table["iter"] == 9 and table["optimizer_state_dict"]["param_groups"] == [{"lr": 0.1, "params": [0]}]
    path = save("mmengine", tmp_path, old=True)
    with pytest.raises(ModelFileError):
        put_back(load_model(path, Wanted(Net)), tmp_path / "out.pth", passport)
    assert not (tmp_path / "out.pth").exists()


# ---- which of the weights ---------------------------------------------------------------------------------------
PREFIXES = ("module.", "model.", "_orig_mod.", "actor.", "backbone.", "module.model.", "a.b.c.", "net._orig_mod.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_one_prefix_that_fits_is_taken_off(prefix: str, tmp_path: Path) -> None:
    table = (
        weights(prefix) | {"head.fc.weight": torch.ones(2), "n": torch.ones(1)} if prefix[0] == "n" else weights(prefix)
    )
    loaded = load_model(saved(tmp_path / "w.pt", table), Wanted(Net))
    assert all(torch.equal(loaded.module.state_dict()[key], tensor) for key, tensor in weights().items())


def test_two_copies_want_a_prefix(tmp_path: Path) -> None:
    """As of an exponential average beside the weights; nothing is guessed."""
    path = saved(tmp_path / "w.pt", weights("model.") | weights("ema.", seed=1))
    with pytest.raises(UsageError) as caught:
        load_model(path, Wanted(Net))
    assert "--key model" in caught.value.remedy and "--key ema" in caught.value.remedy
    for word in ("ema.", "ema"):
        loaded = load_model(path, Wanted(Net, key=word))
        assert torch.equal(loaded.module.state_dict()["first.weight"], weights(seed=1)["first.weight"])
    path = saved(tmp_path / "v.pt", {"state": weights("model.") | weights("ema.", seed=1), "n": weights()})
    loaded = load_model(path, Wanted(Net, key="state.ema"))
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights(seed=1)["first.weight"])
    with pytest.raises(ModelFileError):
        load_model(path, Wanted(Net, key="emma"))


def test_two_tables_want_a_key(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"net": weights(), "ema": weights(seed=1)})
    with pytest.raises(UsageError):
        load_model(path, Wanted(Net))
    loaded = load_model(path, Wanted(Net, key="ema"))
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights(seed=1)["first.weight"])
    with pytest.raises(ModelFileError):
        load_model(path, Wanted(Net, key="emma"))


def test_parts_of_the_network_are_not_left_out(tmp_path: Path) -> None:
    """A weight that the network lacks under its own prefix: another network."""
    path = saved(tmp_path / "w.pt", weights() | {"head.weight": torch.ones(2)})
    with pytest.raises(FactoryError):
        load_model(path, Wanted(Net))
    path = saved(tmp_path / "v.pt", weights("a.") | {"a.first.scale": torch.ones(2)})
    for key in (None, "a"):
        with pytest.raises(FactoryError):
            load_model(path, Wanted(Net, key=key))


def test_the_one_table_that_fits_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"gen": {"w": torch.ones(2)}, "deep": [{"er": weights()}], "opt": {"lr": 0.1}})
    loaded = load_model(path, Wanted(Net))
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    assert loaded.findings


def test_tied_weights_may_be_in_the_file_once(tmp_path: Path, passport: Passport) -> None:
    def tied() -> torch.nn.Module:
        net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
        net[1].weight = net[0].weight
        return net

    path = saved(tmp_path / "w.pt", {"0.weight": torch.ones(3, 3)})
    loaded = load_model(path, Wanted(tied))
    assert torch.equal(loaded.module.state_dict()["1.weight"], torch.ones(3, 3))
    apart = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    with pytest.raises(ModelFileError):  # they would be one weight in the file
        put_back(loaded, tmp_path / "out.pt", passport, apart)
    assert not (tmp_path / "out.pt").exists()
    both = tied().state_dict()
    assert load_model(saved(tmp_path / "v.pt", both), Wanted(tied)).kind == "weights"


@pytest.mark.parametrize("module", [Net(hidden=5), Net().double()], ids=["size", "kind"])
def test_weights_of_another_kind_have_no_place(module: torch.nn.Module, tmp_path: Path, passport: Passport) -> None:
    loaded = load_model(save("mmengine", tmp_path), Wanted(Net))
    with pytest.raises(ModelFileError):
        put_back(loaded, tmp_path / "out.pth", passport, module)
    assert not (tmp_path / "out.pth").exists()


def test_weights_are_held_to_their_checksums(tmp_path: Path, passport: Passport) -> None:
    """torch itself does not look at them; nor are other members copied with their damage. It can leave sums out."""
    path = save("lightning", tmp_path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if "/data/" in info.filename and info.file_size]
    for info in members:
        data = bytearray(whole)
        at = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26 : info.header_offset + 28], "little")
        data[at + int.from_bytes(data[info.header_offset + 28 : info.header_offset + 30], "little")] ^= 4
        (tmp_path / "broken.ckpt").write_bytes(data)
        with pytest.raises(ModelFileError):
            put_back(load_model(tmp_path / "broken.ckpt", Wanted(Net)), tmp_path / "out.ckpt", passport)
        assert not (tmp_path / "out.ckpt").exists()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights(), tmp_path / "without.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_model(tmp_path / "without.pt", Wanted(Net)).kind == "weights"


NO_WEIGHTS: dict[str, Any] = {
    "a tensor": torch.ones(2),
    "tensors without names": [torch.ones(2)],
    "nothing": {},
    "a number": 3,
    "an optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []},
    "sparse": {"first.weight": torch.eye(2).to_sparse()},
}


@pytest.mark.parametrize("case", NO_WEIGHTS)
def test_files_of_torch_without_weights(case: str, tmp_path: Path) -> None:
    with pytest.raises(ChiralizeError) as caught:
        load_model(saved(tmp_path / "w.pt", NO_WEIGHTS[case]), Wanted(Net))
    assert caught.value.code in ("CH201", "CH202")

"""Checkpoints of trainers: their weights are found, and go back into the very file with everything else as it was."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from chiralize.body.tensors import parse_spec
from chiralize.body.tensors.resolution import describes
from chiralize.errors import ChiralizeError, FactoryError, ModelFileError, OutputFileError, UsageError
from chiralize.storage.load import LoadedModel, certificate_in, holds_weights, load_model
from chiralize.storage.sidecar import place_of
from chiralize.storage.sniff import sniff
from chiralize.storage.writing_back import origin_for, write_back
from tests.support.trainer_files import (
    CHECKPOINTS,
    FACTORY,
    NAMES,
    Net,
    mmengine,
    rsl_rl_old,
    save,
    save_folder,
    save_sb3,
    trainers_classes,
    weights,
)


def changed(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Other weights for a network that was loaded."""
    state = loaded.module.state_dict()
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def put_back(loaded: LoadedModel, target: Path, state: Mapping[str, torch.Tensor] | None = None) -> tuple[str, ...]:
    assert loaded.origin is not None
    return write_back(loaded.origin, changed(loaded) if state is None else state, target, '{"a": 1}')


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_found(name: str, tmp_path: Path) -> None:
    path = save(name, tmp_path)
    assert sniff(path) == name.split()[0]
    loaded = load_model(path, factory=FACTORY)
    assert loaded.format == name.split()[0] and not loaded.module.training
    assert all(torch.equal(loaded.module.state_dict()[key], tensor) for key, tensor in weights().items())


@pytest.mark.parametrize("name", NAMES)
def test_they_go_back(name: str, tmp_path: Path) -> None:
    """The file of the result is loaded as the first one was, and remembers how; the first one is as it was."""
    path = save(name, tmp_path)
    before = listing(path)
    loaded = load_model(path, factory=FACTORY)
    target = tmp_path / f"out{path.suffix}"
    assert origin_for(loaded, target) == loaded.origin
    notes = put_back(loaded, target)
    assert notes[0].startswith("written as a ") and path.name in notes[0]
    again = load_model(target, factory=FACTORY)
    assert all(torch.equal(again.module.state_dict()[key], tensor) for key, tensor in changed(loaded).items())
    certificate = json.loads(again.extra["chirality.json"])
    assert certificate["a"] == 1 and certificate["source"]["model"] == FACTORY
    assert listing(path) == before


def listing(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", [name for name in NAMES if "before" not in name and "hugging" not in name])
def test_no_other_byte_of_the_archive_changes(name: str, tmp_path: Path) -> None:
    """Members, their order, places and contents, but for the numbers of the weights; checksums are right."""
    path = save(name, tmp_path)
    loaded = load_model(path, factory=FACTORY)
    target = tmp_path / f"out{path.suffix}"
    put_back(loaded, target)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target) as new:
        assert new.testzip() is None
        places = [(info.filename, info.header_offset, info.file_size, info.date_time) for info in old.infolist()]
        assert places == [
            (info.filename, info.header_offset, info.file_size, info.date_time) for info in new.infolist()
        ]
        differing = [member for member in old.namelist() if old.read(member) != new.read(member)]
    floating = sum(tensor.is_floating_point() for tensor in weights().values())
    assert differing == ["policy.pth"] if name == "sb3" else len(differing) == floating
    assert path.stat().st_size == target.stat().st_size


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_trainer_reads_what_was_put_back(name: str, tmp_path: Path) -> None:
    """With torch.load, objects of the trainer's own included; memory-mapped as well."""
    path = save(name, tmp_path)
    target = tmp_path / f"out{path.suffix}"
    loaded = load_model(path, factory=FACTORY)
    put_back(loaded, target)
    with trainers_classes():
        old, new = (torch.load(file, weights_only=False) for file in (path, target))
        if "before" not in name:
            torch.load(target, weights_only=False, mmap=True)
    assert loaded.origin is not None
    expected = {loaded.origin.names[key]: tensor for key, tensor in changed(loaded).items()}
    assert differences(old, new, loaded.origin.key) == {
        full for full, tensor in expected.items() if tensor.is_floating_point()
    }
    assert all(torch.equal(new[loaded.origin.key][full], tensor) for full, tensor in expected.items())


def differences(old: Any, new: Any, key: str, at: str = "") -> set[str]:
    """Names of the entries of one table that differ; anything else that differs fails."""
    if isinstance(old, torch.Tensor):
        if torch.equal(old, new):
            return set()
        head, _, name = at.partition(".")
        assert head == key, at
        return {name}
    assert type(old).__name__ == type(new).__name__, at
    if not isinstance(old, (dict, list)) and hasattr(old, "__dict__"):
        old, new = vars(old), vars(new)
    if isinstance(old, list):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if not isinstance(old, dict):
        assert old == new, at
        return set()
    assert list(old) == list(new)
    inside = [differences(old[name], new[name], key, f"{at}.{name}" if at else str(name)) for name in old]
    return set().union(*inside)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_folder_keeps_its_other_files(suffix: str, tmp_path: Path) -> None:
    path = save_folder(tmp_path / "hub", shards=3, prefix="net.", suffix=suffix)
    put_back(load_model(path, factory=FACTORY), tmp_path / "out")
    old, new = listing(path), listing(tmp_path / "out")
    assert new.keys() - old.keys() == {"chirality.json"}
    assert {name for name in old if old[name] != new[name]} == {name for name in old if name.endswith(f".{suffix}")}
    read = torch.load if suffix == "bin" else safetensors.torch.load_file
    for file in (tmp_path / "out").glob(f"*.{suffix}"):
        for name, tensor in read(file).items():
            assert torch.equal(tensor, weights("net.")[name] + tensor.is_floating_point()), name


def test_safetensors_count_before_torch_files(tmp_path: Path) -> None:
    path = save_folder(tmp_path / "hub")
    torch.save({name: tensor * 0 for name, tensor in weights().items()}, path / "pytorch_model.bin")
    loaded = load_model(path, factory=FACTORY)
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])


def test_folders_are_not_written_over(tmp_path: Path) -> None:
    loaded = load_model(save_folder(tmp_path / "hub"), factory=FACTORY)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputFileError, match="exists already"):
        put_back(loaded, tmp_path / "out")
    with pytest.raises(OutputFileError, match="mkdir -p"):
        put_back(loaded, tmp_path / "nowhere" / "out")
    with pytest.raises(OutputFileError, match="is in .*hub, which is copied"):
        put_back(loaded, tmp_path / "hub" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "out"]


# ---- which of the weights ---------------------------------------------------------------------------------------
def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


PREFIXES = ("module.", "model.", "_orig_mod.", "actor.", "net.", "backbone.", "module.model.", "a.b.c.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_one_prefix_that_fits_is_taken_off(prefix: str, tmp_path: Path) -> None:
    loaded = load_model(saved(tmp_path / "w.pt", weights(prefix)), factory=FACTORY)
    assert all(torch.equal(loaded.module.state_dict()[key], tensor) for key, tensor in weights().items())
    (note,) = loaded.notes
    assert ("_orig_mod.' (torch.compile)" if prefix == "_orig_mod." else f"prefix {prefix!r}") in note


def test_what_a_prefix_leaves_out_is_said(tmp_path: Path) -> None:
    table = weights("net._orig_mod.") | {
        "head.fc.weight": torch.ones(2),
        "head.fc.bias": torch.ones(2),
        "n": torch.ones(1),
    }
    loaded = load_model(saved(tmp_path / "w.pt", table), factory=FACTORY)
    assert loaded.notes == (
        "took '_orig_mod.' (torch.compile) out of the names",
        "took the weights whose names start with 'net.'; left out 3 others (head, n)",
    )


def test_two_copies_want_a_prefix(tmp_path: Path) -> None:
    """As of an exponential average beside the weights; nothing is guessed."""
    path = saved(tmp_path / "w.pt", weights("model.") | weights("ema.", seed=1))
    with pytest.raises(UsageError) as caught:
        load_model(path, factory=FACTORY)
    assert str(caught.value) == (
        f"UsageError CH207  {path}: its weights fit the network under 2 prefixes: model., ema.\n"
        "    Fix: say which of them: --prefix model. or --prefix ema."
    )
    for word in ("ema.", "ema"):
        loaded = load_model(path, factory=FACTORY, prefix=word)
        assert torch.equal(loaded.module.state_dict()["first.weight"], weights(seed=1)["first.weight"])
    with pytest.raises(
        UsageError, match=r"no weight of .* starts with 'emma\.'\n    Fix: use one of model\., model\.first\."
    ):
        load_model(path, factory=FACTORY, prefix="emma")


def test_parts_of_the_network_are_not_left_out(tmp_path: Path) -> None:
    """A weight that the network lacks under its own prefix: another network, unless the user says otherwise."""
    path = saved(tmp_path / "w.pt", weights() | {"head.weight": torch.ones(2)})
    with pytest.raises(FactoryError, match=r"1 unexpected.*'head\.weight'"):
        load_model(path, factory=FACTORY)
    assert load_model(path, factory=FACTORY, prefix="").notes == ("left out 1 other (head)",)
    path = saved(tmp_path / "v.pt", weights("a.") | {"a.first.scale": torch.ones(2)})
    for prefix in (None, "a."):
        with pytest.raises(FactoryError, match=r"1 unexpected.*'first\.scale'"):
            load_model(path, factory=FACTORY, prefix=prefix)


def test_the_one_table_that_fits_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"gen": {"w": torch.ones(2)}, "deep": {"er": weights()}, "opt": {"lr": 0.1}})
    loaded = load_model(path, factory=FACTORY)
    assert loaded.notes == ("took the entry 'deep.er', the only one that fits",)
    with pytest.raises(
        ModelFileError, match=r"(?s)none of its 2 tables fits.*'gen' \(1\), 'deep\.er' \(9\).*`--key deep\.er`"
    ):
        load_model(path, factory=FACTORY, factory_args={"hidden": "5"})


def test_what_training_alone_needs_is_left_out(tmp_path: Path) -> None:
    loaded = load_model(save("rsl_rl since 4", tmp_path), factory=FACTORY)
    assert loaded.notes[-1] == "left out 1 other (distribution)"
    loaded = load_model(save("rsl_rl until 3", tmp_path), factory=FACTORY)
    assert "'actor.'; left out 10 others (std, critic)" in loaded.notes[-1]
    assert loaded.notes[-2].startswith("std, the spread of the actions, is no weight of this class and stays as it is")


def test_lightning_gives_the_factory_what_it_saved(tmp_path: Path) -> None:
    """As load_from_checkpoint does; what the user says wins."""
    path = save("lightning", tmp_path)
    assert f"arguments of {FACTORY} from the file: hidden=4" in load_model(path, factory=FACTORY).notes
    with pytest.raises(FactoryError, match=r"network \(5, 10\), file \(4, 10\)"):
        load_model(path, factory=FACTORY, factory_args={"hidden": "5"})


def test_tied_weights_may_be_in_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tied() -> torch.nn.Module:
        net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
        net[1].weight = net[0].weight
        return net

    monkeypatch.setattr("tests.support.trainer_files.Net", tied)
    path = saved(tmp_path / "w.pt", {"0.weight": torch.ones(3, 3)})
    loaded = load_model(path, factory=FACTORY)
    assert torch.equal(loaded.module.state_dict()["1.weight"], torch.ones(3, 3))
    put_back(loaded, tmp_path / "out.pt")
    assert torch.equal(torch.load(tmp_path / "out.pt")["0.weight"], torch.full((3, 3), 2.0))
    with pytest.raises(UsageError, match="'0.weight' and '1.weight' are one weight in the file, and differ"):
        put_back(loaded, tmp_path / "o.pt", {"0.weight": torch.ones(3, 3), "1.weight": torch.zeros(3, 3)})
    with pytest.raises(UsageError, match="no place for '2.weight'"):
        put_back(loaded, tmp_path / "o.pt", {"2.weight": torch.ones(3, 3)})


# ---- what cannot go back ----------------------------------------------------------------------------------------
def test_a_source_that_changed_is_not_written_back(tmp_path: Path) -> None:
    for name in ("lightning", "huggingface"):
        path = save(name, tmp_path)
        loaded = load_model(path, factory=FACTORY)
        touched = path / "model.safetensors" if path.is_dir() else path
        touched.write_bytes(touched.read_bytes() + b"\0")
        with pytest.raises(ModelFileError, match="was written to since it was read"):
            put_back(loaded, tmp_path / f"out{path.suffix}")


def test_weights_of_another_kind_have_no_place(tmp_path: Path) -> None:
    loaded = load_model(save("mmengine", tmp_path), factory=FACTORY)
    double = {name: tensor.double() for name, tensor in changed(loaded).items()}
    with pytest.raises(UsageError, match=r"'first.weight' is \(4, 10\) of float64, .* has \(4, 10\) of float32"):
        put_back(loaded, tmp_path / "out.pth", double)
    assert not (tmp_path / "out.pth").exists()


def test_memory_that_others_share_is_not_written_to(tmp_path: Path) -> None:
    table = weights()
    table["first.weight"] = torch.rand(5, 10)[1:]
    path = saved(tmp_path / "w.pt", {"net": table, "whole": {"w": table["first.weight"]._base}})
    with pytest.raises(UsageError, match=r"shares its memory with another tensor, of shape \(5, 10\)"):
        put_back(load_model(path, factory=FACTORY), tmp_path / "out.pt")
    memory = torch.rand(60)
    table = {"first.weight": memory[:40].view(4, 10), "first.bias": memory[38:42], "last": torch.ones(1)}
    path = saved(tmp_path / "u.pt", table)
    with pytest.raises(UsageError, match="shares its memory"):
        put_back(
            load_model(path, factory="tests.support.trainer_files:Overlapping"),
            tmp_path / "out.pt",
            {**table, "first.bias": torch.zeros(4)},
        )
    table = weights()
    path = saved(tmp_path / "v.pt", {"net": table, "same": [table["first.weight"]]})
    loaded = load_model(path, factory=FACTORY)
    put_back(loaded, tmp_path / "out.pt")
    assert torch.equal(torch.load(tmp_path / "out.pt")["same"][0], changed(loaded)["first.weight"])


def test_a_compressed_archive_is_not_patched(tmp_path: Path) -> None:
    path = save_sb3(tmp_path / "policy.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(UsageError, match="'policy.pth' of .*small.zip is compressed"):
        put_back(load_model(tmp_path / "small.zip", factory=FACTORY), tmp_path / "out.zip")


def flipped(path: Path, name: str) -> bytes:
    """An archive with one bit of a member turned round."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    name_size, extra_size = struct.unpack_from("<2H", data, info.header_offset + 26)
    data[info.header_offset + 30 + name_size + extra_size + info.file_size // 2] ^= 4
    return bytes(data)


@pytest.mark.parametrize("name", ["sb3", "lightning", "rsl_rl since 4", "mmengine"])
def test_no_member_is_copied_with_its_damage(name: str, tmp_path: Path) -> None:
    """The optimizer's, which no network needs, is damage for the trainer that loads the result, too.

    What torch itself reads first, its table and the order of bytes, is refused in other words.
    """
    path = save(name, tmp_path)
    with zipfile.ZipFile(path) as archive:
        full = [info.filename for info in archive.infolist() if info.file_size]
    members = [member for member in full if "/data/" in member or "/" not in member]
    assert len(members) > 4
    target = tmp_path / f"out{path.suffix}"
    for member in members:
        broken = tmp_path / f"broken{path.suffix}"
        broken.write_bytes(flipped(path, member))
        with pytest.raises(ModelFileError, match=f"CH201.*member '{re.escape(member)}' cannot be read.*damaged"):
            put_back(load_model(broken, factory=FACTORY), target)
        assert not target.exists()


def test_other_suffixes_are_written_as_ever(tmp_path: Path) -> None:
    loaded = load_model(save("lightning", tmp_path), factory=FACTORY)
    assert [origin_for(loaded, tmp_path / name) for name in ("a.pt2", "a.safetensors", "a.onnx", "a.pt", "a")] == [
        None
    ] * 5


def test_folders_may_have_dots_in_their_names(tmp_path: Path) -> None:
    loaded = load_model(save_folder(tmp_path / "model-v1.5"), factory=FACTORY)
    names = {"sym": True, "sym-v1.6": True, "a.pt": False, "a.pt2": False, "a.safetensors": False}
    assert {name: origin_for(loaded, tmp_path / name) is not None for name in names} == names


# ---- what is remembered -----------------------------------------------------------------------------------------
def test_key_and_prefix_are_remembered(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"a": weights("x.") | weights("y.", seed=1), "b": weights("x.")})
    put_back(load_model(path, factory=FACTORY, key="a", prefix="y."), tmp_path / "out.pt")
    again = load_model(tmp_path / "out.pt", factory=FACTORY)
    assert torch.equal(again.module.state_dict()["first.weight"], weights(seed=1)["first.weight"] + 1)
    assert again.origin is not None and (again.origin.key, again.origin.prefix) == ("a", "y.")


def test_the_network_is_remembered_and_not_imported(tmp_path: Path) -> None:
    """A certificate is a file like any other: what it names is told to the user, who may repeat it."""
    loaded = load_model(save("mmengine", tmp_path), factory=FACTORY, factory_args={"hidden": "4"})
    put_back(loaded, tmp_path / "out.pth")
    with pytest.raises(UsageError) as caught:
        load_model(tmp_path / "out.pth", command="chiralize verify out.pth")
    assert caught.value.remedy.endswith(f"\n    chiralize verify out.pth --model {FACTORY} --arg hidden=4")


@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_is_read_without_the_network(name: str, tmp_path: Path) -> None:
    path = save(name, tmp_path)
    assert holds_weights(path) and certificate_in(path) == {}
    target = tmp_path / f"out{path.suffix}"
    put_back(load_model(path, factory=FACTORY), target)
    assert json.loads(certificate_in(target)["chirality.json"])["a"] == 1
    assert certificate_in(place_of(target)) == certificate_in(target)


def test_which_files_may_hold_a_network(tmp_path: Path) -> None:
    assert not holds_weights(saved(tmp_path / "net.pt", Net())) and not holds_weights(saved_text(tmp_path / "x.txt"))
    assert certificate_in(tmp_path / "net.pt") == {}


def saved_text(path: Path) -> Path:
    path.write_text("hello")
    return path


@pytest.mark.parametrize("factory", [Net, Net(), lambda: Net()], ids=["class", "module", "function"])
def test_a_factory_may_be_the_class_itself(factory: Any, tmp_path: Path) -> None:
    """Or a module, which is copied; of those no certificate can remember a name."""
    loaded = load_model(save("lightning", tmp_path), factory=factory)
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    assert loaded.module is not factory and loaded.origin is not None and loaded.origin.factory == ""
    if isinstance(factory, Net):
        assert not torch.equal(factory.state_dict()["first.weight"], weights()["first.weight"])


# ---- messages ---------------------------------------------------------------------------------------------------
def said(path: Path, **options: Any) -> ChiralizeError:
    with pytest.raises(ChiralizeError) as caught:
        load_model(path, command="chiralize convert it", **options)
    return caught.value


def test_weights_without_a_network_say_what_they_are(tmp_path: Path) -> None:
    path = save("rsl_rl until 3", tmp_path)
    assert str(said(path)) == (
        f"UsageError CH207  {path}: holds 19 weights (first: 'std' (10,)) but not the network they belong to; layers: "
        "Linear 10 -> 4 (actor.first), Linear 4 -> 10 (actor.last), Linear 10 -> 4 (critic.first), "
        "Linear 4 -> 1 (critic.last); names start with std (1), actor. (9), critic. (9)\n"
        "    Fix: say which class or function builds it:\n"
        "    chiralize convert it --model your_package.your_module:YourNet"
    )


def test_a_pickled_module_says_all_at_once(tmp_path: Path) -> None:
    """The flag, and what does without it; both commands work."""
    path = saved(tmp_path / "net.pt", {"epoch": 1, "net": torch.nn.DataParallel(Net())})
    error = said(path)
    assert error.code == "CH202" and "(tests.support.trainer_files.Net, 9 weights; layers: " in error.facts
    commands = [line.strip() for line in error.remedy.splitlines() if line.startswith("    chiralize")]
    assert commands == ["chiralize convert it --unsafe-pickle", f"chiralize convert it --model {FACTORY}"]
    trusted, built = load_model(path, unsafe_pickle=True), load_model(path, factory=FACTORY)
    assert trusted.notes == (
        "took the entry 'net', the network in the file",
        "took the network out of its DataParallel",
    )
    for name, tensor in trusted.module.state_dict().items():
        assert torch.equal(tensor, built.module.state_dict()[name])
    for loaded in (trusted, built):
        put_back(loaded, tmp_path / "out.pt")
        restored = torch.load(tmp_path / "out.pt", weights_only=False)["net"]
        assert all(
            torch.equal(restored.state_dict()[f"module.{name}"], tensor) for name, tensor in changed(loaded).items()
        )


def test_a_pickled_average_of_weights_gives_its_network(tmp_path: Path) -> None:
    """AveragedModel is a wrapper as others are: its count of updates stays in the file."""
    path = saved(tmp_path / "net.pt", torch.optim.swa_utils.AveragedModel(Net()))
    loaded = load_model(path, unsafe_pickle=True)
    assert loaded.notes == ("took the network out of its AveragedModel",)
    put_back(loaded, tmp_path / "out.pt")
    state = torch.load(tmp_path / "out.pt", weights_only=False).state_dict()
    assert "n_averaged" in state
    assert all(torch.equal(state[f"module.{name}"], tensor) for name, tensor in changed(loaded).items())


def test_a_perceptron_is_told_from_its_weights(tmp_path: Path) -> None:
    """But for its activation; the command that the message prints works, the normaliser of rsl_rl included."""
    actor = torch.nn.Sequential(torch.nn.Linear(10, 6), torch.nn.ELU(), torch.nn.Linear(6, 10))
    twice = {f"{owner}.{name}": tensor for owner in ("actor", "critic") for name, tensor in actor.state_dict().items()}
    statistics = {name: torch.ones(1, 10) for name in ("_mean", "_var", "_std")} | {"count": torch.tensor(2)}
    table = {f"obs_normalizer.{name}": tensor for name, tensor in statistics.items()}
    table |= {f"mlp.{name}": tensor for name, tensor in actor.state_dict().items()}
    x = torch.rand(3, 10)
    for value, more, answer in (
        ({"model_state_dict": {"std": torch.ones(10), **twice}, "iter": 1}, " --prefix actor.", actor(x)),
        ({"actor_state_dict": table, "iter": 1}, "", actor((x - 1) / 1.01)),
    ):
        path = saved(tmp_path / "model_1.pt", value)
        words = said(path).remedy.splitlines()[-1].split()
        assert words[:3] == ["chiralize", "convert", "it"] and " ".join(words).endswith(more)
        arguments = dict(word.split("=") for word in words if "=" in word)
        prefix = words[-1] if more else None
        loaded = load_model(path, factory=words[4], factory_args=arguments, prefix=prefix)
        assert torch.allclose(loaded.module(x), answer)


def test_of_actor_and_critic_the_one_that_the_specification_describes(tmp_path: Path) -> None:
    """A critic that sees more than the actor does stands first; what is suggested is the actor."""
    table: dict[str, torch.Tensor] = {}
    for owner, sizes in (("critic", (14, 6, 1)), ("actor", (10, 6, 4))):
        for number in range(2):
            table[f"{owner}.{2 * number}.weight"] = torch.ones(sizes[number + 1], sizes[number])
            table[f"{owner}.{2 * number}.bias"] = torch.ones(sizes[number + 1])
    path = saved(tmp_path / "model.pt", {"model": table})
    spec = parse_spec("""
joints: [l, r]
pairs: [[l, r]]
dims: [q, w, a, b, c]
negate: [q]
inputs: [{layout: "b (j d)"}]
outputs: [{layout: "b (j d)", dims: [q, w]}]
""")
    *_, sentence, command = said(path, describes=partial(describes, spec)).remedy.splitlines()
    assert "the perceptron that actor.* (10 -> 4) could be" in sentence and "others: critic.* (14 -> 1))" in sentence
    assert "sizes=10,6,4 " in command and command.endswith(" --prefix actor.")
    other = parse_spec(
        "{joints: [l, r], pairs: [[l, r]], dims: [x], inputs: [{layout: b j}], outputs: [{layout: b j}]}"
    )
    *_, sentence, command = said(path, describes=partial(describes, other)).remedy.splitlines()
    assert "describes the sizes of none" in sentence and command.endswith(" --prefix critic.")


def test_a_part_of_a_network_is_no_perceptron(tmp_path: Path) -> None:
    """As of Stable-Baselines3: the last layer of the policy has another name."""
    table = {f"policy_net.{2 * number}.{kind}": torch.ones(4, 4) for number in range(2) for kind in ("weight", "bias")}
    path = saved(tmp_path / "w.pt", table)
    assert "--prefix policy_net." in said(path).remedy
    path = saved(tmp_path / "w.pt", table | {"action_net.weight": torch.ones(2, 4)})
    assert said(path).remedy.endswith("--model your_package.your_module:YourNet")


@pytest.mark.parametrize(
    "sizes", [((4, 10), (10, 5)), ((4, 10),), ((4, 10), (5, 4), (4,))], ids=["no chain", "one layer", "a vector"]
)
def test_other_layers_are_no_perceptron(sizes: tuple[tuple[int, ...], ...], tmp_path: Path) -> None:
    table = {f"{2 * number}.weight": torch.ones(size) for number, size in enumerate(sizes)}
    error = said(saved(tmp_path / "w.pt", table))
    assert error.remedy.endswith("--model your_package.your_module:YourNet")


def test_names_of_a_file_are_shown_and_quoted(tmp_path: Path) -> None:
    """A command that is printed may be pasted: no name may end it and begin another, nor move the cursor."""
    evil = "x; touch was_run #"
    path = saved(tmp_path / "w.pt", {evil: weights(), "b": weights()})
    assert said(path, factory=FACTORY).remedy.endswith(f" --key '{evil}'\n    chiralize convert it --key b")
    path = saved(tmp_path / "v.pt", weights(f"{evil}.") | weights("b."))
    assert f"--prefix '{evil}.'" in said(path, factory=FACTORY).remedy
    path = saved(tmp_path / "u.pt", weights("\x1b[2Jx.") | weights("\x1b[2Jy."))
    assert "\x1b" not in str(said(path)) + str(said(path, factory=FACTORY, prefix="z"))
    source = {"source": {"model": evil, "args": {"a": evil}, "key": None, "prefix": None}}
    (tmp_path / "v.pt.chirality.json").write_text(json.dumps(source))
    assert said(tmp_path / "v.pt").remedy.endswith(f"--model '{evil}' --arg 'a={evil}'")


def test_several_networks_in_one_pickle_want_a_key(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", {"net": Net(), "best": {"ema": Net()}})
    error = said(path, unsafe_pickle=True)
    assert "holds 2 networks: 'net', 'best.ema'" in error.facts and "--key net" in error.remedy
    assert load_model(path, unsafe_pickle=True, key="best.ema").notes == (
        "took the entry 'best.ema', the network in the file",
    )


def test_auto_wants_a_class_that_is_named(tmp_path: Path) -> None:
    path = save("mmengine", tmp_path)
    assert "does not say of which class" in said(path, factory="auto").facts


def test_a_folder_of_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert said(tmp_path).facts == "is a folder, not a file, and none in it looks like a model: notes.txt"


def test_the_builders_of_these_files_are_what_they_seem() -> None:
    with trainers_classes():
        assert set(mmengine()) >= {"meta", "state_dict"} and set(rsl_rl_old()) >= {"model_state_dict", "iter"}

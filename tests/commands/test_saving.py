"""`save`, `load`, `attach`: the mirror goes into a file with a module and comes back, on a module of any class."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch import Tensor, nn

import chiralize
from chiralize import attach, keep_symmetric, load, save, verify
from chiralize.body.tensors import parse_spec
from chiralize.commands.chirality import Chirality
from chiralize.errors import AsymmetricWeightError, ChiralizeError, EquivarianceError, ModelFileError, UsageError
from tests.commands.test_flip_test import Pixels
from tests.support.cases import mainly
from tests.support.reflect_nets import PIXELS_OUT, pixels, spec
from tests.support.small_body import POSE
from tests.support.zoo import CASES
from tests.support.zoo.case import scrambled

X = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Lifter(nn.Module):
    """Of six joints; `act` is another entry."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(12, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x.flatten(1))))).unflatten(1, (6, 2))

    def act(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x.flatten(1)))).unflatten(1, (6, 2))


def lifter(hidden: int = 16) -> nn.Module:
    return scrambled(Lifter(hidden).double(), 1).eval()


@cache
def converted(form: str, method: str = "match", entry: str = "forward") -> nn.Module:
    more = {"entry": entry, "samples": 1}
    return chiralize.chiralize(lifter(), parse_spec(POSE), X, method=method, form=form, **more)  # type: ignore[arg-type]


def chiral(form: str = "folded", method: str = "match") -> Any:
    return copy.deepcopy(converted(form, method))


def same(module: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        return float((module(X) - other(X)).abs().max()) <= 1e-12


FILES = itertools.product(("folded", "blocks"), (".pt2", ".safetensors", ".pt", ".onnx"))
OF_EACH = [("folded", ".pt2"), ("blocks", ".safetensors"), ("folded", ".pt"), ("folded", ".onnx")]


@pytest.mark.parametrize(("form", "suffix"), mainly(FILES, OF_EACH))
def test_files_of_every_kind(form: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is verified on its own, comes back with its mirror, and nothing else is left behind."""
    monkeypatch.chdir(tmp_path)
    module = chiral(form).float() if suffix == ".onnx" else chiral(form)
    assert save(module, f"out{suffix}") == Path(f"out{suffix}")
    beside = {"out.pt.chirality.json"} if suffix == ".pt" else set()
    assert {path.name for path in tmp_path.iterdir()} == {f"out{suffix}"} | beside
    if suffix == ".onnx":
        with pytest.raises(
            ModelFileError, match="is an ONNX model, which the commands take; a module of torch is wanted"
        ):
            load("out.onnx")
        return
    back: Any = load(f"out{suffix}", *([] if suffix == ".pt2" else [lifter()]))
    assert same(back.eval(), module) and isinstance(back.chirality, Chirality) and back.chirality.report is None
    assert back.chirality.form == ("blocks" if (form, suffix) == ("blocks", ".pt2") else "folded")
    assert verify(back, example_inputs=(X,), samples=1).passed
    assert "made by match" in str(back.chirality) and "Chirality of" in repr(back.chirality)
    save(back, "again.pt2", X)
    assert same(load("again.pt2"), module)


def test_what_is_known_of_a_mirror_is_shown_in_a_notebook(tmp_path: Path) -> None:
    """Of a result the report's page; of a file what it says, where no report can be; of other modules nothing."""
    module = chiral()
    known = chiralize.chirality(torch.nn.DataParallel(module))
    assert known is module.chirality and known.report is not None
    assert known._repr_html_() == known.report._repr_html_()
    save(module, tmp_path / "a.pt2")
    read = chiralize.chirality(load(tmp_path / "a.pt2"))
    assert read.report is None and read._repr_html_().startswith("<p>mirror of ") and "match" in read._repr_html_()
    with pytest.raises(UsageError, match="does not know its mirror"):
        chiralize.chirality(lifter())


def test_the_command_line_would_have_written_the_same(tmp_path: Path) -> None:
    """Weights, and all of the passport."""
    module = chiral()
    save(module, tmp_path / "out.safetensors")
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:  # type: ignore[attr-defined]
        assert file.metadata()["chirality"] == module.chirality.passport.to_json()
        assert {name: file.get_tensor(name).tolist() for name in file.keys()} == {  # noqa: SIM118
            name: value.tolist() for name, value in module.state_dict().items()
        }


@pytest.mark.thorough
def test_both_views_and_another_entry(tmp_path: Path) -> None:
    both = chiral("auto", "average")
    save(both, tmp_path / "both.pt2")
    back: Any = load(tmp_path / "both.pt2")
    assert same(back, both) and back.chirality.passport.is_average
    with pytest.raises(UsageError, match=r"\(two-view\) is a graph of its own, .pt holds weights only"):
        save(both, tmp_path / "both.pt")
    acting: Any = copy.deepcopy(converted("folded", "match", "act"))
    save(acting, tmp_path / "act.pt2")
    assert torch.equal(load(tmp_path / "act.pt2")(X), acting.act(X))


@pytest.mark.parametrize("model", [Lifter, lambda: Lifter(), f"{__name__}:Lifter"], ids=["class", "function", "text"])
def test_the_network_of_weights_may_be_a_class_or_its_name(model: Any, tmp_path: Path) -> None:
    module = chiral()
    save(module, tmp_path / "out.pt")
    assert same(load(tmp_path / "out.pt", model), module)
    narrow = copy.deepcopy(lifter())
    before = copy.deepcopy(narrow.state_dict())
    load(tmp_path / "out.pt", narrow)
    assert all(torch.equal(value, before[name]) for name, value in narrow.state_dict().items())  # a copy was filled
    with pytest.raises(ChiralizeError, match="the weights do not fit"):
        load(tmp_path / "out.pt", Lifter, args={"hidden": 8})
    with pytest.raises(UsageError, match="args: Lifter is built already"):
        load(tmp_path / "out.pt", narrow, args={"hidden": 8})


# ---- after a restart --------------------------------------------------------------------------------------------
def sources(folder: Path) -> dict[str, Any]:
    """Everything that a mirror can be taken from."""
    module = chiral()
    for suffix in (".pt2", ".safetensors", ".pt", ".onnx"):
        save(module, folder / f"a{suffix}")
    save(chiral("blocks"), folder / "blocks.pt2")
    files = {path.name: path for path in folder.iterdir()}
    passport = module.chirality.passport
    text = passport.to_json()
    return {**files, "text": text, "passport": passport, "chirality": module.chirality, "module": chiral("blocks")}


@pytest.mark.thorough
def test_the_mirror_of_a_file_goes_onto_the_original_class(tmp_path: Path) -> None:
    """Training goes on symmetric, verify needs no skeleton, save writes, and weights in blocks load."""
    module: Any = None
    for name, source in sources(tmp_path).items():
        module = Lifter().double().eval()
        module.load_state_dict(chiral().state_dict())
        assert attach(module, source) is module and module.chirality.form == "folded", name
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        keep_symmetric(module, optimizer)
        module(X).square().sum().backward()
        optimizer.step()
        assert verify(module, example_inputs=(X,), samples=1).passed, name
        module.load_state_dict(chiral("blocks").state_dict())
        assert same(module, chiral("blocks")), name
    save(module, tmp_path / "next.safetensors")
    assert same(load(tmp_path / "next.safetensors", lifter()), module)


def test_weights_that_are_not_symmetric_are_refused_with_how_far(tmp_path: Path) -> None:
    save(chiral(), tmp_path / "a.pt2")
    module = lifter()
    with pytest.raises(
        AsymmetricWeightError, match=r"moves 8 of 8 weights and buffers, .*\|W - P\(W\)\| / \|W\| = 0\.\d+"
    ) as caught:
        attach(module, tmp_path / "a.pt2")
    assert "chiralize.keep_symmetric(network, optimizer)" in caught.value.remedy and not hasattr(module, "chirality")
    attach(module, tmp_path / "a.pt2", project=True)
    assert verify(module, example_inputs=(X,), samples=1).passed


def one_step(module: nn.Module) -> None:
    """Training without `keep_symmetric`."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    (module(X) - torch.arange(36.0).view(3, 6, 2)).square().mean().backward()
    optimizer.step()


def test_what_training_broke_is_not_written(tmp_path: Path) -> None:
    module = chiral()
    one_step(module)
    for suffix in (".pt2", ".pt", ".safetensors", ".onnx"):
        with pytest.raises(AsymmetricWeightError):
            save(module, tmp_path / f"out{suffix}")
    trained = chiral("blocks")
    one_step(trained)
    save(trained, tmp_path / "blocks.pt2")
    assert same(load(tmp_path / "blocks.pt2"), trained)
    assert {path.name for path in tmp_path.iterdir()} == {"blocks.pt2"}


def test_what_forward_breaks_is_not_written(tmp_path: Path) -> None:
    """Weights that are symmetric do not make a network equivariant: what is exported is run and proved."""
    module = chiral()
    module.act = None

    class Lopsided(Lifter):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.arange(12.0).view(6, 2)

    module.__class__ = Lopsided
    with pytest.raises(EquivarianceError):
        save(module, tmp_path / "out.pt2")
    assert not list(tmp_path.iterdir())


def without_inputs(path: Path) -> nn.Module:
    """A module as of a file that was written before files knew the inputs."""
    module = load(path, Lifter)
    passport = replace(module.chirality.passport, inputs=None)  # type: ignore[union-attr]
    del module.chirality
    return attach(module, passport)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no mirror": (lambda folder: save(lifter(), folder / "out.pt2"), "Lifter: it does not know its mirror"),
    "suffix": (lambda folder: save(chiral(), folder / "out.bin"), "out.bin has no known suffix"),
    "no network": (lambda folder: load(folder / "a.pt"), r"a.pt: the file holds weights, and not the network"),
    "no passport": (lambda folder: load(folder / "plain.pt", Lifter), "plain.pt: the file brings no mirror"),
    "no passport to attach": (lambda folder: attach(lifter(), folder / "plain.pt"), "the file brings no mirror"),
    "no such file": (lambda folder: attach(lifter(), folder / "nothing.pt"), "no such file"),
    "no JSON": (lambda folder: attach(lifter(), "{"), "attach: chirality.json cannot be read"),
    "another class": (lambda folder: attach(nn.Linear(2, 2), folder / "a.pt"), "Linear has no first.weight, .* of 8"),
    "another size": (lambda folder: attach(lifter(8), folder / "a.pt"), r"first.weight is \(8, 12\), .* on \(16, 12\)"),
    "both views": (lambda folder: attach(lifter(), converted("auto", "average")), "of a network that runs both views"),
    "one view": (lambda folder: attach(chiral("auto", "average"), folder / "a.pt"), "the module runs both views"),
    "a module without": (lambda folder: attach(lifter(), lifter()), "Lifter: it has no mirror"),
    "graph as weights": (
        lambda folder: save(load(folder / "a.pt2"), folder / "b.pt"),
        "graph that was read from a file",
    ),
    "no inputs": (lambda folder: save(without_inputs(folder / "a.pt"), folder / "b.pt2"), "nobody knows its inputs"),
    "no folder": (lambda folder: save(chiral(), folder / "no" / "out.pt"), "no such folder|does not exist"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", WRONG)
def test_refused(name: str, tmp_path: Path) -> None:
    save(chiral(), tmp_path / "a.pt2")
    save(chiral(), tmp_path / "a.pt")
    torch.save(lifter().state_dict(), tmp_path / "plain.pt")
    before = sorted(path.name for path in tmp_path.iterdir())
    call, says = WRONG[name]
    with pytest.raises(ChiralizeError, match=says):
        call(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    """A pickled module is refused by both, whatever lies beside it."""
    save(chiral(), tmp_path / "a.pt")
    torch.save(lifter(), tmp_path / "b.pt")
    with pytest.raises(UsageError, match="the file brings no mirror"):  # its weights were read without its code
        load(tmp_path / "b.pt", Lifter)
    (tmp_path / "b.pt.chirality.json").write_text((tmp_path / "a.pt.chirality.json").read_text())
    with pytest.raises(ModelFileError, match="describes other weights"):
        attach(lifter(), tmp_path / "b.pt")


@pytest.mark.thorough
def test_a_part_that_runs_both_views(tmp_path: Path) -> None:
    """The file holds the averaged part; the original class, which runs one view, does not take its mirror."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.LayerNorm(12), nn.Linear(12, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(x.flatten(1))).view_as(x)

    net = scrambled(Normed().double(), 2).eval()
    module: Any = chiralize.chiralize(net, parse_spec(POSE), X, method="project", on_blocked="average", samples=1)
    assert module.chirality.passport.averaged
    save(module, tmp_path / "a.pt2")
    back: Any = load(tmp_path / "a.pt2")
    assert same(back, module) and verify(back, example_inputs=(X,), samples=1).passed
    with pytest.raises(UsageError, match="of a network that runs both views of a part, Normed runs one"):
        attach(net, tmp_path / "a.pt2")
    with pytest.raises(UsageError, match=r"\(averaged\) is a graph of its own"):
        save(module, tmp_path / "a.pt")


def test_states_are_reset_before_they_are_written(tmp_path: Path) -> None:
    """A network that has been run holds a state that T moves, from which no roll-out is equivariant."""
    case = CASES["policy, gru in buffers"]
    args, _ = case.steps(1)[0]
    options: Any = {"method": "match", "form": "folded", "samples": 1}
    module: Any = chiralize.chiralize(case.model(), parse_spec(case.spec), args, **options)
    start = copy.deepcopy(module.state_dict())
    module(*args)
    for suffix in (".pt2", ".safetensors"):
        with pytest.raises(AsymmetricWeightError, match="^AsymmetricWeightError CH210  (hidden|last): ") as caught:
            save(module, tmp_path / f"a{suffix}")
        assert caught.value.remedy.startswith("if it is a state that forward left there, reset it first")
    module.load_state_dict(start)
    save(module, tmp_path / "a.safetensors")
    save(module, tmp_path / "a.pt2")
    back = load(tmp_path / "a.safetensors", case.model())
    assert torch.equal(back(*args), load(tmp_path / "a.pt2")(*args))


@cache
def in_pixels(form: str) -> nn.Module:
    net = scrambled(Pixels().double(), 3).eval()
    options: Any = {"method": "project", "form": form, "samples": 1}
    return chiralize.chiralize(net, spec(outputs=PIXELS_OUT), pixels(3, 17, 2), **options)


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".safetensors"])
@pytest.mark.parametrize("form", ["folded", "blocks"])
def test_a_mirror_in_pixels(form: str, suffix: str, tmp_path: Path) -> None:
    """Biases hold the offset of the coordinates, so that weights are not asked; what forward does is proved."""
    x, module, target = pixels(3, 17, 2, seed=1), copy.deepcopy(in_pixels(form)), tmp_path / f"a{suffix}"
    save(module, target)
    back = load(target, *([] if suffix == ".pt2" else [Pixels().double()]))
    with torch.no_grad():
        assert torch.allclose(back(x), module(x), rtol=0, atol=1e-9) and float(module(x).std()) > 1
    assert verify(back, example_inputs=(x,), samples=1).passed
    with torch.no_grad():
        module.last.bias[0] += 1  # type: ignore[union-attr,index,operator]
    with pytest.raises(EquivarianceError):
        save(module, tmp_path / f"b{suffix}")
    assert not list(tmp_path.glob("b*"))


def test_a_mirror_in_pixels_is_not_told_by_weights(tmp_path: Path) -> None:
    """Attached to weights of no symmetry it is there for `verify` and `save`, which run the network."""
    net, x = scrambled(Pixels().double(), 3).eval(), pixels(3, 17, 2)
    save(copy.deepcopy(in_pixels("folded")), tmp_path / "a.pt")
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UsageError, match="a.pt: project=True: its mirror is affine"):
        attach(net, tmp_path / "a.pt", project=True)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    attach(net, tmp_path / "a.pt")
    assert not verify(net, example_inputs=(x,), samples=1).passed
    with pytest.raises(EquivarianceError):
        save(net, tmp_path / "b.pt")
    attach(net, replace(net.chirality.passport, inputs=None))  # type: ignore[union-attr,arg-type]
    with pytest.raises(UsageError, match="nobody knows its inputs"):
        save(net, tmp_path / "b.pt")
    assert not list(tmp_path.glob("b*"))

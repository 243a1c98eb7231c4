"""A snapshot brings a module back to what it was, whatever forward wrote where."""

from __future__ import annotations

import random
import types
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.graph import snapshot
from chiralize.graph.holdings import Holdings, held_tensors
from chiralize.graph.snapshot import Snapshot, untouched


class Memory:
    """An object of the user's own."""

    __slots__ = ("hidden", "seen")

    def __init__(self) -> None:
        self.hidden = torch.ones(2)


@dataclass
class Frames:
    past: list[Tensor] = field(default_factory=lambda: [torch.zeros(2)])
    count: int = 0


class Holds(nn.Module):
    """A module that holds what it is given, and writes with a function of the test's."""

    write: Callable[[Any, Tensor], None]

    def __init__(self, write: Callable[[Any, Tensor], None], **held: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("state", torch.full((2,), -0.0))
        self.register_buffer("passing", torch.full((2,), float("nan")), persistent=False)
        for name, value in held.items():
            setattr(self, name, value)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        self.write(self, y)
        return y


class Nested(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Identity(), inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def buffer_in_place(s: Any, y: Tensor) -> None:
    s.state[:] = y
    s.passing.zero_()


def buffer_anew(s: Any, y: Tensor) -> None:
    s.state = y
    s.passing = None


def by_data(s: Any, y: Tensor) -> None:
    s.state.data = torch.cat([y, y])
    s.layer.weight.data = s.layer.weight.data.double()


def resized(s: Any, y: Tensor) -> None:
    s.state.resize_(7)
    s.passing.resize_(0)


def parameter(s: Any, y: Tensor) -> None:
    with torch.no_grad():
        s.layer.weight.mul_(2)
        s.layer.bias[0] = float("nan")
    s.layer.weight.requires_grad_(False)


def attributes(s: Any, y: Tensor) -> None:
    s.attn, s.step, s.plain = y, s.step + 1, y
    del s.gone
    s.layer.extra = y
    s.array += 1


def containers(s: Any, y: Tensor) -> None:
    s.frames.append(y)
    s.frames[0].add_(1)
    s.table["new"] = y
    s.table["old"][0].append(y)
    s.table.move_to_end("old")
    s.kinds.add(2)
    s.pair[0].append(y)
    s.nested[0]["h"] = y


def objects(s: Any, y: Tensor) -> None:
    s.memory.hidden.zero_()
    s.memory.seen = y
    s.record.past.append(y)
    s.record.count += 1
    s.space.h = y
    s.distribution.loc = y


def generators(s: Any, y: Tensor) -> None:
    torch.rand(3, generator=s.torchs)
    s.pythons.random()
    s.numpys.random()
    s.olds.rand()


def modules(s: Any, y: Tensor) -> None:
    s.layer.train(not s.layer.training)
    s.added = nn.Linear(1, 1)
    s.register_buffer("late", y)
    s.layer = nn.Identity()


def empty_tables(s: Any, y: Tensor) -> None:
    s.store["new"] = y
    s.layer.register_forward_hook(lambda *rest: None)


def one_empty_table(s: Any, y: Tensor) -> None:
    s.order["new"] = 1


CASES: dict[str, tuple[Callable[[Any, Tensor], None], Callable[[], dict[str, Any]]]] = {
    "a buffer, in place": (buffer_in_place, dict),
    "a buffer, anew": (buffer_anew, dict),
    "data": (by_data, dict),
    "resized": (resized, dict),
    "a parameter": (parameter, dict),
    "attributes": (attributes, lambda: {"step": 0, "plain": torch.ones(2), "gone": 1, "array": np.ones(2)}),
    "containers": (containers, lambda: {
        "frames": deque([torch.zeros(2)] * 3, maxlen=3), "table": OrderedDict(old=([1],), other=2), "kinds": {1},
        "pair": ([torch.ones(1)], 2), "nested": [{"h": torch.zeros(2)}],
    }),
    "objects": (objects, lambda: {
        "memory": Memory(), "record": Frames(), "space": types.SimpleNamespace(h=torch.zeros(1)),
        "distribution": torch.distributions.Normal(torch.zeros(1), torch.ones(1)),
    }),
    "random numbers": (generators, lambda: {
        "torchs": torch.Generator(), "pythons": random.Random(0), "numpys": np.random.default_rng(0),
        "olds": np.random.RandomState(0),
    }),
    "modules": (modules, dict),
    "empty tables": (empty_tables, lambda: {"store": {}}),
    "one empty table": (one_empty_table, lambda: {"order": OrderedDict()}),
}  # fmt: skip


def described(value: Any, seen: set[int] | None = None) -> Any:
    """All that can be told of a module, objects by their addresses: equal before and after where nothing is left."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).tolist() if value.numel() else []
        return id(value), value.shape, value.stride(), value.dtype, value.requires_grad, value.is_leaf, data
    if isinstance(value, np.ndarray):
        return id(value), value.shape, value.tobytes()
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, (random.Random, np.random.RandomState)):
        return repr(value.getstate() if isinstance(value, random.Random) else value.get_state())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if value is None or isinstance(value, (bool, int, float, str, type)) or callable(value) and not vars(value):
        return value
    if id(value) in seen:
        return id(value)
    seen.add(id(value))
    if isinstance(value, dict):
        return id(value), [(key, described(own, seen)) for key, own in value.items()]
    if isinstance(value, (list, tuple, set, deque)):
        return id(value), [described(own, seen) for own in value]
    slots = [described(getattr(value, name, "none"), seen) for name in getattr(value, "__slots__", ())]
    return id(value), slots, described(getattr(value, "__dict__", None), seen)


@pytest.mark.parametrize("grad", [True, False], ids=["gradients", "no gradients"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left(name: str, grad: bool) -> None:
    """The same objects with the same bits, in a submodule too, time and again."""
    write, held = CASES[name]
    net = Nested(Holds(write, **held()))
    before, x = described(net), torch.randn(2)
    snapshot = Snapshot.of(net)
    assert snapshot.changes() == ()
    for _ in range(2):
        with torch.set_grad_enabled(grad):
            net(x)
        assert described(net) != before and snapshot.changes()
        snapshot.restore()
        assert described(net) == before and snapshot.changes() == ()


def test_tables_with_tensors_as_keys() -> None:
    """As optimisers keep what belongs to a parameter: keys are told apart as objects, not by their numbers."""
    net = nn.Linear(3, 2)
    net.steps = {net.weight: 1, net.bias: 2}  # type: ignore[assignment]
    before = dict(net.steps)
    with untouched(net):
        net.steps[net.weight] = 5
        net.steps[nn.Parameter(torch.zeros(2))] = 6
    assert [id(key) for key in net.steps] == [id(key) for key in before]
    assert list(net.steps.values()) == [1, 2]


def test_also_after_an_error() -> None:
    def write(s: Any, y: Tensor) -> None:
        s.state[:] = 1
        s.half = y
        raise ValueError("half-way")

    net = Holds(write)
    before = described(net)
    with pytest.raises(ValueError, match="half-way"), untouched(net):
        net(torch.randn(2))
    assert described(net) == before


def test_tensors_that_share_memory() -> None:
    """A state that is a view of a parameter, and one that is expanded."""

    def write(s: Any, y: Tensor) -> None:
        s.view.add_(1)

    net = Holds(write)
    vars(net)["view"] = net.layer.weight.detach()[0]
    vars(net)["wide"] = net.layer.weight.detach()[1, :1].expand(5)
    before = described(net)
    with untouched(net):
        net(torch.randn(2))
        assert described(net) != before
    assert described(net) == before


class Scripted(nn.Module):
    """Everything that TorchScript lets forward write."""

    h: Tensor
    c: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("h", torch.full((2,), -0.0))
        self.register_buffer("c", torch.ones(2))
        self.plain, self.past, self.step, self.last = torch.ones(2), [torch.zeros(2)], 0, None
        self.table = {"a": torch.ones(2)}

    def forward(self, x: Tensor) -> Tensor:
        self.h[:] = x
        self.c = self.c + x
        self.plain = x
        self.past.append(x)
        self.past[0].add_(1)
        self.step += 1
        self.last = x
        self.table["b"] = x
        return self.h + self.c


Scripted.__annotations__ = {"past": list[Tensor], "step": int, "last": Tensor | None, "table": dict[str, Tensor]}


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


def attributes_of(script: Any) -> str:
    return repr([own._c.dump_to_str(False, True, True) for own in script.modules()])


@pytest.mark.parametrize("depth", [0, 1])
def test_torchscript(depth: int) -> None:
    script = scripted(nn.Sequential(Scripted()) if depth else Scripted())
    inner, prefix = (script[0], "0.") if depth else (script, "")
    tensors, before = {name: getattr(inner, name) for name in ("h", "c", "plain")}, attributes_of(script)
    snapshot = Snapshot.of(script)
    for _ in range(2):
        script(torch.randn(2))
        assert attributes_of(script) != before
        changed = {str(own.location) for own in snapshot.changes()}
        assert {f"{prefix}{name}" for name in ("h", "c", "plain", "past", "step", "last", "table")} <= changed
        snapshot.restore()
        assert attributes_of(script) == before and snapshot.changes() == ()
    assert all(getattr(inner, name) is own for name, own in tensors.items())
    assert torch.signbit(script.state_dict()[f"{prefix}h"]).all()


def test_places() -> None:
    """How messages call what a module holds, and what was written."""

    def write(s: Any, y: Tensor) -> None:
        s.state[:] = y
        s.step += 1
        s.frames[0].add_(1)
        s.table["h"] = y
        s.record.past.append(y)

    net = Nested(Holds(write, step=0, frames=deque([torch.zeros(2)]), table={"h": torch.ones(2)}, record=Frames()))
    at = "body.1"
    assert set(held_tensors(net)) == {
        f"{at}.layer.weight", f"{at}.layer.bias", f"{at}.state", f"{at}.passing", f"{at}.frames[0]",
        f"{at}.table['h']", f"{at}.record.past[0]",
    }  # fmt: skip
    snapshot = Snapshot.of(net)
    net(torch.randn(2))
    changes = {str(own.location): own.location for own in snapshot.changes()}
    assert set(changes) == {f"{at}.state", f"{at}.step", f"{at}.frames[0]", f"{at}.table['h']", f"{at}.record.past[1]"}
    assert changes[f"{at}.state"].kind == "buffer" and changes[f"{at}.frames[0]"].name == "frames"


def test_a_program_holds_no_tables_of_sympy() -> None:
    """Its open sizes have bounds, numbers of SymPy that lead to all that SymPy knows of numbers."""
    axes = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(3, 2),), dynamic_shapes=axes).module()
    places = [str(holder.location) for holder in Holdings.of(program).holders]
    assert "range_constraints" in places and not any(place.startswith("range_constraints[") for place in places)


def test_what_has_no_values() -> None:
    """Meta tensors, sparse ones and quantised weights are no reason to fail."""
    net: Any = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    vars(net)["sparse"] = torch.eye(3).to_sparse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vars(net)["quantised"] = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
        net.append(torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2))))
    with untouched(net):
        net.state = torch.ones(2)
    assert not hasattr(net, "state")


@pytest.mark.parametrize("size", [0, 1, 7, 4096])
def test_bytes_are_compared_with_and_without_the_c_library(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last byte, also where it is not to be had."""
    first = torch.arange(size, dtype=torch.uint8)
    others = [first.clone() for _ in range(3)]
    for other, changed in zip(others, (None, 0, size - 1), strict=True):
        if changed is not None and size:
            other[changed] += 1
    for compare in (snapshot._memcmp(), None):
        monkeypatch.setattr(snapshot, "_memcmp", lambda compare=compare: compare)
        assert [snapshot._are_equal(first, other) for other in others] == [True, size == 0, size == 0]

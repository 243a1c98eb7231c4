"""Files that run nothing and would never end: each is refused at once, with what was counted in it."""

from __future__ import annotations

import io
import json
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage import archive as archive_module
from chiralize.storage.arrays import load_arrays
from chiralize.storage.expressions import guard_fault, size_expression_fault
from chiralize.storage.load import load_model
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import Representation

Members = dict[str, bytes]
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
SECONDS = 2.0


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x).repeat(2, 1)


@pytest.fixture(scope="module")
def members() -> Members:
    dynamic = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(Net().eval(), (torch.randn(3, 4),), dynamic_shapes=dynamic)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


def edited(members: Members, name: str, change: Callable[[Any], None], path: Path) -> Path:
    """The archive with one JSON member changed."""
    tree = json.loads(members[name])
    change(tree)
    with zipfile.ZipFile(path, "w") as target:
        for member, data in {**members, name: json.dumps(tree).encode()}.items():
            target.writestr(f"archive/{member}", data)
    return path


def refused_at_once(path: Path, cause: str) -> None:
    start = time.monotonic()
    with pytest.raises(UnsafeFileError) as told:
        load_model(path)
    assert cause in str(told.value) and str(path) in str(told.value) and told.value.exit_status == 2
    assert time.monotonic() - start < SECONDS


# ---- expressions ------------------------------------------------------------------------------------------------
SUMS = "*".join(f"(s{index} + 1)" for index in range(20))
ENDLESS = {
    "power of powers": ("9**9**9", "power"),
    "shift of a shift": ("1 << (1 << 36)", "bits in its numbers"),
    "by functions": ("PowByNatural(Integer(9), PowByNatural(Integer(9), Integer(9)))", "power"),
    "shift by functions": ("LShift(Integer(1), Integer(68719476736))", "bits in its numbers"),
    "shift to the right": ("RShift(Symbol('s1'), Integer(68719476736))", "bits in its numbers"),
    "exponent of a symbol": ("Pow(Integer(2), Symbol('s1'))", "a power of up to 2**64"),
    "negative exponent": ("Pow(Integer(7), Integer(-99999999))", "power"),
    "digits by exponent": ("Integer(Float('1e999999999'))", "bits in its numbers"),
    "tiny by exponent": ("Rational('1e-999999999')", "bits in its numbers"),
    "product of sums": (SUMS, "terms once multiplied out"),
    "power of a sum": ("(s1 + s2 + s3 + s4)**40", "terms once multiplied out"),
    "product by functions": (f"Mul({SUMS.replace('*', ', ')})", "terms once multiplied out"),
    "sum": ("+".join(f"s{index}" for index in range(600)), "terms once multiplied out"),
    "nested divisions": ("FloorDiv(" * 65 + "s1" + ", 2)" * 65, "nested operations"),
    "signs": ("-" * 1500 + "s1", "nested operations"),
    "parentheses": ("(" * 90 + "s1" + " - 3)//2" * 90, "nested operations"),
    "repeated tuple": ("Tuple(1, 2)*1000000000", "tuple"),
    "repeated pair": ("(1, 2)*1000000000", "tuple"),
    "rounding": ("RoundDecimal(Symbol('s1'), Integer(-999999999))", "bits in its numbers"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_arithmetic_without_end(case: str) -> None:
    text, cause = ENDLESS[case]
    start = time.monotonic()
    assert cause in str(size_expression_fault(text))
    assert time.monotonic() - start < SECONDS


ENDLESS_GUARDS = {
    "power": ("L['x'].size()[0] == 9**9**9", "power"),
    "power of sizes": ("L['x'].size()[0]**L['x'].size()[1] > 2", "a power of up to 2**64"),
    "shift": ("L['x'].size()[0] << 68719476736 > 1", "bits in its numbers"),
    "pow": ("pow(2, L['x'].size()[0]) > 1", "a power of up to 2**64"),
    "round": ("round(5, -999999999) == 0", "bits in its numbers"),
    "tuple": ("(1,)*10000000000 == 1", "tuple"),
}


@pytest.mark.parametrize("case", ENDLESS_GUARDS)
def test_guards_without_end(case: str) -> None:
    text, cause = ENDLESS_GUARDS[case]
    assert cause in str(guard_fault(text))


HONEST = [
    "Symbol('s77', positive=True, integer=True)",
    "FloorDiv(Add(Symbol('s77', positive=True, integer=True), Integer(-3)), Integer(2))",
    "Mul(Integer(17), Pow(Symbol('s1'), Integer(2)), Add(Symbol('s2'), Integer(1)))",
    "Pow(Add(Symbol('s1'), Integer(1)), Float('0.5'))",
    "PowByNatural(Symbol('s1'), Integer(3))",
    "Max(Integer(1), Mod(Symbol('s1'), Integer(8)))",
    "8*(((s77 - 1)//8)) + 8",
]


@pytest.mark.parametrize("text", HONEST)
def test_honest_sizes_pass(text: str) -> None:
    assert size_expression_fault(text) is None


def test_honest_guards_pass() -> None:
    assert guard_fault("L['x'].size()[0]**2 <= 4096 and not (L['x'].size()[1] % 8 == 0)") is None


@pytest.mark.parametrize("text", ["2 ** None", "2 << None", "round(2, None)"])
def test_no_number_in_the_place_of_one_is_bounded_all_the_same(text: str) -> None:
    """Torch cannot evaluate it, and says so; the bound must not fail before."""
    assert guard_fault(text) is None


def test_an_expression_in_a_file(members: Members, tmp_path: Path) -> None:
    def change(tree: dict) -> None:
        for value in tree["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = "9**9**9"

    refused_at_once(edited(members, PROGRAM, change, tmp_path / "net.pt2"), "size expression '9**9**9' holds")


def test_a_range_in_a_file(members: Members, tmp_path: Path) -> None:
    def change(tree: dict) -> None:
        tree["range_constraints"] = {"1<<(1<<36)": {"min_val": 2, "max_val": 3}}

    refused_at_once(edited(members, PROGRAM, change, tmp_path / "net.pt2"), "the name '1<<(1<<36)'")


# ---- how many ---------------------------------------------------------------------------------------------------
def test_too_many_guards(members: Members, tmp_path: Path) -> None:
    guards = [f"L['x'].size()[0] != {number}" for number in range(200_000)]
    path = edited(members, PROGRAM, lambda tree: tree.update(guards_code=guards), tmp_path / "net.pt2")
    refused_at_once(path, "guards_code has 200,000 entries, limit 5,000")


def test_too_much_arithmetic(members: Members, tmp_path: Path) -> None:
    """Each expression for itself is within the bounds, all of them take minutes."""
    text = "(" * 31 + "L['x'].size()[0]" + " - 3)//2" * 31
    guards = [f"{text} != {number}" for number in range(200)]
    path = edited(members, PROGRAM, lambda tree: tree.update(guards_code=guards), tmp_path / "net.pt2")
    refused_at_once(path, "size expressions and guards need")


def test_too_long_guards(members: Members, tmp_path: Path) -> None:
    guards = [f"L['x'].size()[0] != {number:090d}" for number in range(4_000)]
    path = edited(members, PROGRAM, lambda tree: tree.update(guards_code=guards), tmp_path / "net.pt2")
    refused_at_once(path, "characters long, limit 250,000")


def test_too_long_a_list(members: Members, tmp_path: Path) -> None:
    def change(tree: dict) -> None:
        tree["graph_module"]["graph"]["is_single_tensor_return"] = [0] * 100_001

    refused_at_once(
        edited(members, PROGRAM, change, tmp_path / "net.pt2"),
        "is_single_tensor_return has 100,001 entries, limit 100,000",
    )


def test_too_long_a_text(members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chiralize.storage import bounds

    monkeypatch.setattr(bounds, "MAX_TEXT_BYTES", 1000)
    path = edited(members, PROGRAM, lambda tree: None, tmp_path / "net.pt2")
    refused_at_once(path, "bytes of text, limit 1,000")


# ---- small files that claim much --------------------------------------------------------------------------------
def test_a_weight_that_repeats_one_number(members: Members, tmp_path: Path) -> None:
    def change(tree: dict) -> None:
        meta = tree["config"]["fc.weight"]["tensor_meta"]
        meta.update(sizes=[{"as_int": 10**6}, {"as_int": 10**6}], strides=[{"as_int": 0}, {"as_int": 0}])

    path = edited(members, WEIGHTS, change, tmp_path / "net.pt2")
    refused_at_once(path, "claims 1,000,000,000,000 entries, shape (1000000, 1000000), and holds 64 bytes")


def test_a_checkpoint_that_repeats_one_number(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pt")
    refused_at_once(tmp_path / "w.pt", "claims 1,000,000,000,000 entries, shape (1000000, 1000000), and holds 4 bytes")


def doubled(times: int) -> list[Any]:
    """A list of two lists, which are one list of two lists, which are one ..."""
    value: list[Any] = [1.0]
    for _ in range(times):
        value = [value, value]
    return value


def test_lists_that_repeat_lists(tmp_path: Path) -> None:
    """60 lists of two entries, 10**18 numbers: in a checkpoint and in an array file."""
    torch.save({"w": torch.ones(2), "history": doubled(60)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as target:
        objects = np.empty(1, dtype=object)
        objects[0] = doubled(60)
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        target.writestr("x.npy", buffer.getvalue() + pickle.dumps(objects, protocol=2))
    for load, name in ((load_model, "w.pt"), (load_arrays, "x.npz")):
        with pytest.raises(UnsafeFileError, match=r"holds [\d,]{20,} parts once all that it repeats is counted"):
            load(tmp_path / name)


def test_many_members_that_unpack_to_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is large by itself."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as target:
        for index in range(20):
            target.writestr(f"{index}.npy", bytes(400_000))
    monkeypatch.setattr(archive_module, "LARGE_MEMBER_BYTES", 1 << 20)
    with pytest.raises(UnsafeFileError, match=r"20 members unpack .* bytes to 8,000,000 \(a zip bomb\)"):
        load_arrays(tmp_path / "x.npz")


def test_a_passport_with_an_endless_axis() -> None:
    for text in ("1000000000000: ", "1000000: x 1000000: (0 1)", "0: x 1000000000000: "):
        with pytest.raises(ValueError, match="an axis of 1,000,000,000,000 entries, limit 16,777,216"):
            Representation.parse(text)
    table = {"chirality": 1, "representations": ["1000000000000: "], "hidden": {}, "figures": {}}
    with pytest.raises(ModelFileError, match="an axis of 1,000,000,000,000 entries"):
        Passport.from_json(json.dumps(table), "net.pt2")

"""Every format has a test with hostile files of it; and those of safetensors, which no code can be in."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from chiralize.errors import ChiralizeError
from chiralize.storage.load import load_model
from chiralize.storage.registry import known_formats
from tests.support.trainer_files import FACTORY

HERE = Path(__file__).parent
ATTACKED = {
    "csv": "test_arrays.py: test_broken_tables_of_text",
    "huggingface": "test_trainers_hostile.py: test_a_folder_of_pickles_runs_nothing",
    "lightning": "test_trainers_hostile.py: test_objects_beside_the_weights_are_not_restored",
    "mmengine": "test_trainers_hostile.py: test_objects_beside_the_weights_are_not_restored",
    "npy": "test_refusals.py: test_hostile_numpy_file",
    "npz": "test_other_kinds.py: test_hostile_arrays_run_nothing",
    "onnx": "test_onnx_hostile.py: test_bad_graphs",
    "pickled_module": "test_refusals.py: test_unsafe_pickle_is_what_runs_it",
    "pt2": "test_hostile.py: test_attack_works_on_torch_and_is_refused_here",
    "rsl_rl": "test_behind_normaliser.py: test_an_object_in_its_place_is_not_restored",
    "safetensors": "test_every_format_is_attacked.py: test_headers_that_lie",
    "sb3": "test_trainers_hostile.py: test_pickles_in_the_json_of_sb3_are_not_loaded",
    "state_dict": "test_refusals.py: test_checkpoint_that_would_run_code",
    "torchscript": "test_refusals.py: test_torchscript_can_write_files_on_torch_and_is_refused_here",
}


def test_every_format() -> None:
    """A new one comes with an attack, and the named tests are there."""
    assert set(ATTACKED) == set(known_formats())
    for entry in ATTACKED.values():
        file, test = entry.split(": ")
        assert re.search(rf"^def {test}\(", (HERE / file).read_text(encoding="utf-8"), re.MULTILINE), entry


def entry(dtype: str = "F32", shape: Any = (10,), offsets: Any = (0, 40)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS: dict[str, Any] = {
    "beyond the file": {"first.bias": entry(shape=[2**40], offsets=[0, 2**42])},
    "before it": {"first.bias": entry(offsets=[-40, 0])},
    "fewer bytes than numbers": {"first.bias": entry(offsets=[0, 4])},
    "sizes that are none": {"first.bias": entry(shape=[-10])},
    "a size that is text": {"first.bias": entry(shape=["10"])},
    "no kind of numbers": {"first.bias": entry(dtype="__import__('os')")},
    "a list": [1, 2],
    "an entry that is a number": {"first.bias": 3},
    "too deep": None,
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_lie(case: str, tmp_path: Path) -> None:
    """They are refused in words, and no memory is taken for what a header promises."""
    header = b'{"a":' * 5000 if case == "too deep" else json.dumps(HEADERS[case]).encode()
    path = tmp_path / "w.safetensors"
    for length in (len(header), 2**60):
        path.write_bytes(struct.pack("<Q", length) + header + bytes(40))
        with pytest.raises(ChiralizeError) as caught:
            load_model(path, factory=FACTORY)
        assert caught.value.code != "CH901" and "w.safetensors" in str(caught.value)

"""A trained lifter on the test subjects of a data set: alone, averaged over both views, and chiralized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from chiralize import chiralize
from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.storage.load import load_model
from examples.lifting import metrics
from examples.lifting.networks import WIDTHS, TemporalLifter
from examples.lifting.poses import Dataset, Windows
from examples.study.task import Reflection

PIECE = 2000
"""Frames that a network reads at once."""


def load_lifter(path: Path, dataset: Dataset, frames: int, channels: int, key: str | None) -> TemporalLifter:
    """The network of a VideoPose3D checkpoint or another file of such weights, without running code of the file.

    Raises ModelFileError, UnsafeFileError, FactoryError.
    """
    arguments = {
        "joints_in": len(dataset.body_in.joints),
        "joints_out": len(dataset.body_out.joints),
        "channels": channels,
        "filter_widths": list(WIDTHS[frames]),
    }
    given = {name: str(value) for name, value in arguments.items()}
    factory = f"{TemporalLifter.__module__}:{TemporalLifter.__name__}"
    module = load_model(path, factory=factory, factory_args=given, key=key).module
    assert isinstance(module, TemporalLifter)
    return module


def lifting_spec(dataset: Dataset) -> ConversionSpec:
    """The mirror of a lifter of sequences, as chiralize takes it."""
    spec = load_spec(dataset.body_out, input_layouts=["b t j d"], output_layouts=["b t j d"])
    body_in = None if dataset.body_in == dataset.body_out else dataset.body_in
    return replace(spec, inputs=tuple(entry.with_skeleton(body_in) for entry in spec.inputs or ()))


def lifted(network: nn.Module, windows: Windows) -> np.ndarray:
    """Answers for every frame, `frame joint 3`, metres; a clip is padded at its ends, and read in long pieces."""
    parts = []
    with torch.inference_mode():
        for clip in windows.padded():
            for first in range(0, len(clip) - windows.frames + 1, PIECE):
                piece = clip[first : first + PIECE + windows.frames - 1]
                parts.append(network(piece[None])[0].numpy())
    return np.concatenate(parts)


def compare(
    network: TemporalLifter, dataset: Dataset, widths: tuple[float, ...], samples: int = 2000
) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """(name, figures in mm, MPJPE by action in mm) of the network, of both views averaged, and of every conversion."""
    windows = Windows(dataset.test, network.receptive_field)
    turned = Windows(dataset.test, network.receptive_field)
    before, after = (
        Reflection(*zip(*body.pairs, strict=True)) for body in (dataset.body_in, dataset.body_out)
    )  # fmt: skip
    turned.poses = before(turned.poses)
    alone = lifted(network, windows)
    other = after(torch.from_numpy(lifted(network, turned))).numpy()
    yield ("network", *judged(alone, windows))
    yield ("network, TTA", *judged((alone + other) / 2, windows))
    learnt = Windows(dataset.training, network.receptive_field)
    places = np.random.default_rng(0).choice(len(learnt), min(samples, len(learnt)), replace=False)
    inputs = learnt.inputs(torch.from_numpy(places))
    for width in widths:
        chiral = chiralize(
            network,
            lifting_spec(dataset),
            (inputs[:2],),
            method="reduce",
            width=width,
            calibration=inputs,
            force=True,
        ).eval()
        yield (f"chiralized {width}", *judged(lifted(chiral, windows), windows))


def judged(answers: np.ndarray, windows: Windows) -> tuple[dict[str, float], dict[str, float]]:
    """Figures over all frames, mm, and the MPJPE of every action."""
    found, wanted = 1000 * answers.astype(float), 1000 * windows.targets.numpy().astype(float)
    errors = metrics.mpjpe(found, wanted)
    figures = {
        "MPJPE mm": float(errors.mean()),
        "mean of actions mm": metrics.mean_of_actions(errors, windows.actions),
        "P-MPJPE mm": float(metrics.p_mpjpe(found, wanted).mean()),
        "N-MPJPE mm": float(metrics.n_mpjpe(found, wanted).mean()),
        "MPJVE mm": float(metrics.mpjve(found, wanted, windows.lengths).mean()),
    }
    return figures, metrics.by_action(errors, windows.actions)

"""Conversions of policies, what a user is told of them, and what comes out where they are refused unless forced."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from torch import Tensor, nn

from chiralize import chiralize
from chiralize.body.tensors import ConversionSpec
from chiralize.errors import ChiralizeError


class Converted(NamedTuple):
    """outcome: handed over, warned, or refused; with the code of the error where not even force makes a result.

    network: None there.  said: the verdict, or the facts of the error.
    """

    network: nn.Module | None
    outcome: str
    said: str

    @property
    def report(self) -> Any:
        network: Any = self.network
        return network.chirality.report

    @property
    def rho(self) -> str:
        """Empty where nothing was measured."""
        drift = self.report.drift if self.network is not None else None
        return f"{drift.rho:.4f}" if drift else ""


def converted(
    policy: nn.Module,
    spec: ConversionSpec,
    example: tuple[Tensor, ...],
    calibration: Tensor | None,
    options: dict[str, Any],
) -> Converted:
    """Convert as a user does, without force; and by force what is refused, so that it can be run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refusal: ChiralizeError | None = None
        try:
            network: Any = chiralize(policy, spec, example, calibration=calibration, **options)
        except ChiralizeError as error:
            refusal = error
            try:
                network = chiralize(policy, spec, example, calibration=calibration, force=True, **options)
            except ChiralizeError as final:
                return Converted(None, f"refused {final.code}", str(final.facts))
    report = network.chirality.report
    if refusal is not None or report.standing == "failed":
        return Converted(network, "refused", str(report.verdict))
    return Converted(network, "warned" if report.standing == "warning" else "handed over", str(report.verdict))

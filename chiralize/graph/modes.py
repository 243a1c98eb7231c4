"""The modes that a network runs under, and when it can do without them.

`Isolated` and `Staying` see every op and every torch function, which takes several times as long as a small network
itself. Most networks give them nothing to do. `Modes` finds out in the first run and leaves them off in later ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chiralize.graph.devices import CPU, device_of
from chiralize.graph.isolation import Isolated
from chiralize.graph.staying import Staying


class Modes:
    """A context manager around every run of one network; it may be entered again and again.

    module: on the CPU, it runs under both modes until a run has shown that neither acts, and bare from then on. A bare
    run that draws random numbers after all puts the process's generator back and ends that. If double, a number that
    is made in the default dtype by later runs alone (in a branch of Python) is float32 then: residuals only grow by it.
    A network on another device may have what it asks for, and there are more generators to look after: it always runs
    `Isolated`.
    """

    def __init__(self, module: nn.Module, *, double: bool = False) -> None:
        self._isolated = Isolated(double=double)
        self._staying = Staying()
        self._is_on_cpu = device_of(module) == CPU
        self._is_bare = False
        self._before: Tensor | None = None
        self._was_surprised = False

    def reseed(self) -> None:
        """Draw the same random numbers again from here on."""
        self._isolated.reseed()

    def settle(self) -> bool:
        """After a run: whether it is to be made again, since it showed that runs are made the other way.

        A run under modes may differ from a bare one in its rounding: torch has faster kernels where no mode is on. So
        all runs that are compared are made in one way.
        """
        if self._is_bare:
            # Surprised: a bare run drew random numbers after all. It is made again, and no later run is bare.
            self._is_bare = not self._was_surprised
            return self._was_surprised
        self._is_bare = self._is_on_cpu and not (self._isolated.acted or self._staying.acted or self._was_surprised)
        return self._is_bare

    def __enter__(self) -> Modes:
        if self._is_bare:
            self._before = torch.default_generator.get_state()
        else:
            if self._is_on_cpu:
                self._staying.__enter__()
            self._isolated.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        # Set on entering alone where the run is bare.
        if self._before is None:
            self._isolated.__exit__(*details)
            if self._is_on_cpu:
                self._staying.__exit__(*details)
            return
        if not torch.equal(torch.default_generator.get_state(), self._before):
            torch.default_generator.set_state(self._before)
            self._was_surprised = True
        self._before = None

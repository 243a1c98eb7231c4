"""Windows that slide along an axis, and when a mirror takes them to each other: the law of all that have windows.

A window of k entries, d apart, of output o reads the entries

    s o - p + d j,   j = 0 ... k - 1

of its axis. Seen from the other end, j becomes k - 1 - j and o becomes n - 1 - o, and what is read is entry c - e in
place of e, with c = s (n - 1) + d (k - 1) - 2 p. So a convolution commutes with a mirror that takes e to c - e wherever
windows reach: the kernel and the outputs are reversed then. The reversal of a whole axis is that mirror where c is its
size less one, which it is not where strides leave a column over.

The adjoint of a convolution has its windows on its result, as many as there are entries to read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Windows:
    """Windows along one axis of `size` entries. before: entries in front of it that the first one begins at.

    8 entries, kernel 3, stride 2, padding 1 have 4 windows: they begin at -1, 1, 3, 5 and the last ends at 7. So
    before is 1 and after is 0. Seen from the other end they would begin at 0, so that these are not symmetric.
    """

    size: int
    count: int
    kernel: int
    stride: int = 1
    before: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Entries from the first to the last that one window reads."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def after(self) -> int:
        """Entries behind the end of the axis that the last window ends at; negative where it ends before."""
        return self.stride * (self.count - 1) + self.extent - self.before - self.size

    @property
    def center(self) -> int:
        """c: entry e meets entry c - e."""
        return self.size - 1 + self.after - self.before

    @property
    def is_symmetric(self) -> bool:
        """Whether the reversal of the whole axis is the mirror that windows commute with."""
        return self.before == self.after

    @property
    def read(self) -> range:
        """From the first entry that some window reads to the last."""
        return range(max(-self.before, 0), min(self.size + self.after, self.size))

    @property
    def is_closed(self) -> bool:
        """Whether no window reads an entry whose partner lies beyond the axis."""
        return not self.read or self.read[0] + self.read[-1] == self.center

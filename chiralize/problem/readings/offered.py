"""Arrays that the user has, and which input each of them is for: their sizes are the likeliest of all.

Calibration inputs are "sample ..."; an example has one sample, so that an array of (2000, 27, 17, 2) offers the shape
(1, 27, 17, 2). `Search` tries it before all others, and takes the 27 for the frames where a template "b t j d" fits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from chiralize.problem.readings.arguments import Arranged, arguments_of, names_by_position
from chiralize.problem.readings.templates import Template
from chiralize.problem.readings.trial import Shape


def by_input(samples: Mapping[str, Tensor], arranged: Arranged, module: nn.Module) -> list[Tensor | None]:
    """The array of every input, "sample ..."; None for inputs that have none.

    Arrays go by the names of arguments, of entries of a table and of the specification, where all have such names. Else
    they go in their order to all inputs but states, where there are as many: as calibration inputs are read later.
    """
    count = len(arranged.entries)
    names = names_by_position(arranged, arguments_of(module))
    # One strange name, and none is trusted: arrays of an .npz may be called arr_0, arr_1.
    if set(samples) <= set(names.values()):
        return [samples.get(names.get(index, "")) for index in range(count)]
    positions = [index for index, entry in enumerate(arranged.entries) if entry.kind != "state"]
    arrays: list[Tensor | None] = [None] * count
    if len(positions) == len(samples):
        for index, array in zip(positions, samples.values(), strict=True):
            arrays[index] = array
    return arrays


def shape_of_one(array: Tensor) -> Shape:
    """The sizes of one sample, as an input."""
    return (1, *array.shape[1:])


def of_shape(templates: Sequence[Template], shape: Shape, widths: Collection[int] = ()) -> list[Template]:
    """Those of the templates that have this shape, at some number of frames, as templates of it alone.

    widths: lengths of last axes that are no frames.
    """
    fitting: list[Template] = []
    for template in templates:
        is_width = template.ends_with_frames and shape[-1] in widths
        if not is_width and template.at(_frames(template, shape)) == shape:
            fitting.append(Template(shape, template.entry, template.layout))
    return fitting


def frames_in(templates: Sequence[Template], shape: Shape) -> int:
    """The number of frames in a shape, as the first of the templates that fit it counts them; 0 where none does."""
    fitting = (_frames(template, shape) for template in templates if template.at(_frames(template, shape)) == shape)
    return next(fitting, 0)


def _frames(template: Template, shape: Shape) -> int:
    """The size in a shape that is the number of frames, if it has this template; 0 where that counts none."""
    return next((size for size, known in zip(shape, template.sizes, strict=False) if isinstance(known, str)), 0)

"""What a conversion may be asked for: options that exist, go together, and do something.

Single values are checked by `Request` itself. Here a request is held against its method: an option that the method
would ignore is an error, since a user who gives it expects something of it.
"""

from __future__ import annotations

from chiralize.errors import MethodUnavailableError, UsageError
from chiralize.problem.problem import Method
from chiralize.problem.request import FORMS, ON_BLOCKED, Request


def check_request(request: Request, method: Method) -> None:
    """Raises MethodUnavailableError or UsageError for what does not exist, go together, or do anything."""
    # Values that no method has, then what this method cannot do, then options that want another option.
    if request.form not in FORMS:
        facts = f"{request.form!r} is not in this version"
        raise MethodUnavailableError("--form", facts, f"use one of {', '.join(FORMS)}")
    if request.on_blocked not in ON_BLOCKED:
        facts = f"{request.on_blocked!r} is not known"
        raise UsageError("--on-blocked", facts, f"use one of {', '.join(ON_BLOCKED)}")
    if request.on_blocked == "average" and method.averages == "nothing":
        facts = f"{method.name} cannot average a part"
        raise UsageError("--on-blocked", facts, "use --method match, or --on-blocked average-all")
    if request.form == "dense" and not method.takes_width:
        raise UsageError("--form", f"dense goes with --method reduce, not {method.name}", "leave --form out")
    if request.width is not None and not method.takes_width:
        raise UsageError("--width", f"{method.name} has no width", "use --method reduce, or leave --width out")
    if request.mix > 0 and not method.is_fitted and not request.distill:
        remedy = "use --method reduce or match, or leave --mix-gaussian out"
        raise UsageError("--mix-gaussian", f"{method.name} fits nothing", remedy)
    if request.checkpoint is not None and not request.distill:
        remedy = "give --distill 1800, or leave --distill-checkpoint out"
        raise UsageError("--distill-checkpoint", "nothing is distilled", remedy)

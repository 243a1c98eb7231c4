"""Small networks of every kind, written for the tests, with T written beside them."""

from tests.support.zoo import lifters, policies, recurrent, structures
from tests.support.zoo.case import Case

CASES: dict[str, Case] = {
    case.name: case for group in (lifters, recurrent, policies, structures) for case in group.CASES
}

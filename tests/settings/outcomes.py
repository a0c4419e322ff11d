"""What becomes of every wrong value of a setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from .places import fresh, places, settings_of
from .values import complaints, wrong_values


class Outcome(NamedTuple):
    """Of one wrong value.

    Attributes:
        label: Its name in the lists.
        error: The refusal; None if the value was taken.
        lacks: What its message lacks.
    """

    label: str
    error: Optional[Exception]
    lacks: list[str]


def all_settings() -> list[tuple[str, str]]:
    """Every place with the name of every setting that a user gives there."""
    return [
        (where, name)
        for where, place in places().items()
        for name in settings_of(place.kind)
        if name not in place.given
    ]


def outcomes(where: str, name: str) -> Iterator[Outcome]:
    """Try every wrong value of a setting."""
    place = places()[where]
    for label, value in wrong_values(settings_of(place.kind)[name]).items():
        try:
            place.build({**fresh(place, name), name: value})
        except Exception as error:
            yield Outcome(label, error, complaints(error, name, value))
        else:
            yield Outcome(label, None, [])

"""Put rejected values into words: what was found and what was expected, and never what must not be shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import ValidationError

_MAX_KEY_LENGTH = 64
_MASK = "****"
# A shorter secret may be a part of ordinary words, and one of up to three letters a word of its own.
_MIN_MASKED_INSIDE, _MIN_MASKED = 8, 4


class RejectedValue(NamedTuple):
    """One value that a model did not take.

    Attributes:
        path: Where it stands, as in ``vaults[1].name``.
        root: The outermost key, as it was given.
        key: The innermost key on the path that is known; None where the key itself is unknown.
        value: The value as it was given.
        is_missing: Whether there is no value at all.
    """

    path: str
    root: int | str
    key: str | None
    value: object
    is_missing: bool


def find_rejected_values(error: ValidationError, known: Iterable[str]) -> Iterator[RejectedValue]:
    """Yield every value that *error* is about, in the order of the model's fields.

    Args:
        error: What pydantic raised.
        known: The keys that may stand there.
    """
    known = frozenset(known)
    for mistake in error.errors(include_url=False, include_context=False):
        keys = [part for part in mistake["loc"] if isinstance(part, str)]
        steps = (f"[{part}]" if isinstance(part, int) else f".{format_key(part)}" for part in mistake["loc"])
        key = next((key for key in reversed(keys) if key in known), None)
        yield RejectedValue(
            path="".join(steps).lstrip("."),
            root=next(iter(mistake["loc"]), ""),
            key=None if mistake["type"] == "extra_forbidden" else key,
            value=mistake["input"],
            is_missing=mistake["type"] == "missing",
        )


def explain(error: ValidationError, expected: Mapping[str, str]) -> list[str]:
    """Return one line for each mistake: the key, what was found and what was expected.

    Args:
        error: What pydantic raised.
        expected: What may stand at each key, in words; any other key is an unknown one.

    Returns:
        Lines that show no value, since a payload may hold anything.
    """
    lines = []
    for rejected in find_rejected_values(error, expected):
        if rejected.key is None:
            lines.append(f"{rejected.path}: unknown key; expected one of {', '.join(expected)}")
        else:
            was = "nothing" if rejected.is_missing else describe_value(rejected.value)
            lines.append(f"{rejected.path}: found {was}, expected {expected[rejected.key]}")
    return lines


def describe_value(value: object) -> str:
    """Say what a rejected value is, without its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case "":
            return "an empty string"
        case str():
            return f"a string of {len(value)} characters"
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def format_key(key: object) -> str:
    """Return a key as it can be shown: printable, and cut where it is overlong."""
    text = key if isinstance(key, str) and key.isidentifier() else repr(key)
    return text if len(text) <= _MAX_KEY_LENGTH else text[:_MAX_KEY_LENGTH] + "…"


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in *text* by ``****``.

    Args:
        text: Words that may repeat a secret.
        secrets: The values to hide. Those under 8 characters are hidden where they stand as words of their
            own, those under 4 nowhere: they are no secrets, and the words around them have to stay readable.

    Returns:
        The text without the secrets.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_MASKED_INSIDE:
            text = text.replace(secret, _MASK)
        elif len(secret) >= _MIN_MASKED:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
    return text

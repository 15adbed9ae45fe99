"""HTML and SVG that are escaped because of how they are made."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"col", "img", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: object) -> Markup:
    """An element. Children that are not Markup are escaped; so are attributes, `class_` and `aria_label` among them.

    An attribute that is None or False is left out, one that is True has no value.
    """
    said = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{said}>" + ("" if name in VOID else f"{joined(children)}</{name}>"))


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after the other, escaped where they are not Markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def figure(*content: str, caption: str, class_: str | None = None) -> Markup:
    """A figure; the style numbers it."""
    return tag("figure", *content, tag("figcaption", caption), class_=class_)


def section(title: str, *content: str) -> Markup:
    """A chapter of the page."""
    return tag("section", tag("h2", title), *content)


def absent(sentence: str) -> Markup:
    """What stands where something could not be shown."""
    return tag("p", sentence, class_="absent")

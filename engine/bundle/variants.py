"""Variants: classes that were merged of certain adapters, which a tag such as <lora:name:0.8> in a prompt selects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from engine.bundle.fields import Field
from engine.errors import RequestError
from engine.sampling.prompt_tags import Adapter, read_tags

__all__ = ["adapters_field", "installed", "matching", "select_variant"]

KINDS = ("hypernet", "lora", "unet")
SHOWN = 20
"""Largest number of variants that an error lists."""


def adapters_field(entry: Field) -> tuple[Adapter, ...]:
    """Return the adapters of a class in a manifest. Raises RequestError that names the wrong field."""
    # The base alone.
    if entry.value == []:
        return ()
    return tuple(
        Adapter(one["kind"].choice(*KINDS), one["name"].text(), one["multiplier"].number(-1e6, 1e6))
        for one in entry.elements()
    )


def stated(class_name: str, adapters: Sequence[Adapter] | None) -> tuple[Adapter, ...]:
    """Return what a class was merged of. A class of an earlier version that does not state it has its hypernetwork."""
    return (Adapter("hypernet", class_name),) if adapters is None else tuple(adapters)


def matching(wanted: Sequence[Adapter], classes: Mapping[str, Sequence[Adapter] | None]) -> list[str]:
    """Return the classes that were merged of exactly these adapters with these weights, in any order."""
    return [name for name, adapters in classes.items() if _same(wanted, stated(name, adapters))]


def installed(classes: Mapping[str, Sequence[Adapter] | None]) -> str:
    """Return the classes with the tags of their adapters, for messages."""
    words = [
        f"{tags} (class {name})" for name, own in classes.items() if (tags := "".join(map(str, stated(name, own))))
    ]
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more or "none"


def select_variant(
    chosen: tuple[str, ...],
    prompt: str | None,
    negative_prompt: str | None,
    classes: Mapping[str, Sequence[Adapter] | None],
) -> tuple[tuple[str, ...], str | None]:
    """Return the classes to draw, and the prompt without tags. None is the prompt of the class.

    chosen: the classes that were asked for. classes: the adapters of every class of the bundle. Raises RequestError if
    no class was merged of exactly the adapters in the tags.
    """
    if negative_prompt is not None and read_tags(negative_prompt, "--negative-prompt")[1]:
        raise RequestError(
            "--negative-prompt",
            found=f"a tag in {negative_prompt[:80]!r}",
            expected="tags of adapters in the prompt alone",
            fix="move the tag to --prompt",
        )
    rest, wanted = (None, ()) if prompt is None else read_tags(prompt)
    if not wanted:
        return chosen, prompt
    tags = "".join(map(str, wanted))
    if len(chosen) > 1:
        raise RequestError(
            f"--prompt with {tags}",
            found=f"{len(chosen)} classes",
            expected="one class, because the tag selects a class",
            fix="name one class with --class",
        )
    found = matching(wanted, classes)
    if not found:
        raise RequestError(
            f"--prompt with {tags}",
            found="no class that was merged of exactly these adapters with these weights",
            expected=f"one of {installed(classes)}",
            fix="choose one of these, or merge and export the adapter as a class of this bundle",
        )
    return ((chosen[0] if chosen[0] in found else found[0]),), rest or None


def _same(wanted: Iterable[Adapter], own: Iterable[Adapter]) -> bool:
    """Return whether two lists hold the same adapters with the same weights, in any order."""
    left, right = (sorted(items, key=lambda one: (one.kind, one.name, one.weight)) for items in (wanted, own))
    return len(left) == len(right) and all(
        (one.kind, one.name) == (other.kind, other.name) and math.isclose(one.weight, other.weight, abs_tol=1e-6)
        for one, other in zip(left, right, strict=True)
    )

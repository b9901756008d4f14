"""The header `Accept`: which of some media types a client wants most (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def choose(header: str, offered: Sequence[str]) -> str | None:
    """Return the one of the `offered` types, best first, that is wanted most; None if none is."""
    if not header:
        return offered[0]
    wanted = [_range(text) for text in header.split(",")]
    ranked = sorted(offered, key=lambda type_: -_quality(type_, wanted))
    return ranked[0] if _quality(ranked[0], wanted) > 0 else None


def _range(text: str) -> tuple[str, float]:
    """Read `text/*;q=0.5`; a quality that is no number is none at all."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0


def _quality(type_: str, wanted: Sequence[tuple[str, float]]) -> float:
    """Return how much a type is wanted, by the most specific range that it is in."""
    for name in (type_, f"{type_.partition('/')[0]}/*", "*/*"):
        for range_, quality in wanted:
            if range_ == name:
                return quality
    return 0.0

"""
What is text or bytes in a type: alone, in a union such as ``str | None``, or as an Enum of str.

They are bodies as they are. No codec sees them.
"""

import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

__all__ = ["Texts", "members", "takes_bytes", "texts_of"]


@dataclass(frozen=True, slots=True)
class Texts:
    """
    How a type mixes what is sent as it is with what a codec encodes.

    Attributes:
        makers: take the body, each for one form of text or bytes, in the order to be tried.
        literals: the texts of a ``Literal``.
        named: all texts there may be, of a ``Literal`` or an Enum; None: any text may come.
        rest: the type of everything else; None if there is nothing else.
    """

    makers: tuple[Callable[[bytes], Any], ...]
    literals: frozenset[str]
    named: frozenset[str] | None
    rest: Any

    @classmethod
    def of(cls, kind: Any) -> "Texts | None":
        """Return None for what only a codec can decode."""
        if any(map(_is_any, members(kind))):
            return cls((bytes.decode, bytes), frozenset(), None, Any)
        makers: list[Callable[[bytes], Any]] = []
        rest: list[Any] = []
        literals: set[str] = set()
        named: set[str] | None = set()
        for member in members(kind):
            if typing.get_origin(member) is Literal:
                values = typing.get_args(member)
                literals.update(value for value in values if isinstance(value, str))
                if None in values:  # which older msgspecs cannot have in a Literal with numbers
                    rest.append(type(None))
                if others := tuple(
                    each for each in values if each is not None and not isinstance(each, str)
                ):
                    rest.append(Literal[others])
            elif (maker := _maker(member)) is not None:
                makers.append(maker)
                texts = _texts_in(member)
                named = None if named is None or texts is None else named | texts
            else:
                rest.append(member)
        if not makers and not literals:
            return None
        makers.sort(key=takes_bytes)  # bytes take everything
        all_named = None if named is None else frozenset(named | literals)
        return cls(tuple(makers), frozenset(literals), all_named, _union(rest))


def _is_any(kind: Any) -> bool:
    return kind is Any or kind is object or isinstance(kind, TypeVar)


def _texts_in(kind: Any) -> frozenset[str] | None:
    """Return all texts that a type of text has; None if they are without end."""
    if isinstance(kind, type) and issubclass(kind, Enum) and issubclass(kind, str):
        return frozenset(str.__str__(member) for member in kind)
    return None


@lru_cache(maxsize=256)
def texts_of(kind: Any) -> Texts | None:
    """Do what ``Texts.of`` does, and remember it."""
    return Texts.of(kind)


def members(kind: Any) -> Iterator[Any]:
    """Yield the members of a union; others as they are, without the names given to them."""
    while (plain := _unnamed(kind)) is not kind:
        kind = plain
    notes: tuple[Any, ...] = ()
    inner = kind
    if typing.get_origin(kind) is typing.Annotated:
        inner, *_ = typing.get_args(kind)
        notes = kind.__metadata__
    if typing.get_origin(inner) in (typing.Union, types.UnionType):
        for member in typing.get_args(inner):
            yield from members(typing.Annotated[(member, *notes)] if notes else member)
    else:
        yield kind


def _unnamed(kind: Any) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # of a NewType
    kind = getattr(kind, "__value__", kind)  # of a type alias
    if typing.get_origin(kind) is typing.Annotated:
        inner, *notes = typing.get_args(kind)
        # What stands beside it may be anybody's, and limits text only.
        if not any(type(note).__module__ == "msgspec" for note in notes):
            return inner
    return kind


def _maker(kind: Any) -> Callable[[bytes], Any] | None:
    """Return what makes a ``kind`` of a body that was sent as it is; None if it is no such."""
    if typing.get_origin(kind) is typing.Annotated:
        maker = _maker(typing.get_args(kind)[0])
        return partial(_constrained, kind) if maker is bytes.decode else maker
    if not isinstance(kind, type):
        return None
    if kind is str:
        return bytes.decode
    if issubclass(kind, str):
        return lambda body: kind(body.decode())
    return kind if issubclass(kind, bytes | bytearray | memoryview) else None


def _constrained(kind: Any, body: bytes) -> Any:
    import msgspec

    return msgspec.convert(body.decode(), kind)


def takes_bytes(maker: Callable[[bytes], Any]) -> bool:
    """Whether it is a type of bytes, which takes any body."""
    return isinstance(maker, type)


def _union(members: list[Any]) -> Any:
    return typing.Union[tuple(members)] if members else None  # noqa: UP007 - they are not known here

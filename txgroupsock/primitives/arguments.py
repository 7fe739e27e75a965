"""
Arguments, looked at where they are given, by what their annotations say.

L{checked} does it for a function, L{typed} for the attributes of an C{attrs} class.  What is of
another kind than it has to be is a L{TypeError} that names the argument and says what would be
right, what is out of range a L{ValueError}.  A C{bool} is no number here, nor a text a list of
texts, whatever Python says.

Not for the data path: a call costs some microseconds more.  There L{explained} finds out, once a
call has failed, whether that was because of its arguments: that costs nothing while all is well.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import socket
import types
import typing
from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, ParamSpec, TypeVar

from attrs import Attribute
from attrs.validators import and_
from zope.interface.interface import InterfaceClass, Method

from txgroupsock.primitives.checks import withArticle, wrongKind

MOST: Final = 10**12
"""More seconds or bits a second, or the like, are taken for a mistake."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Check = Callable[[str, Any], None]


def checked(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function whose arguments are looked at before it is called."""
    signature = inspect.signature(function)
    hints = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.annotation is not parameter.empty
    }
    places = {name: place for place, name in enumerate(signature.parameters)}
    checks: list[tuple[str, int, _Check]] | None = None

    @functools.wraps(function)
    def looking(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        nonlocal checks
        if checks is None:  # only now is everything there that annotations name
            scope = getattr(function, "__globals__", {})
            found = {name: _checkOf(hint, scope) for name, hint in hints.items()}
            checks = [(name, places[name], each) for name, each in found.items() if each]
        for name, place, check in checks:
            if name in kwargs:
                check(name, kwargs[name])
            elif place < len(args):
                check(name, args[place])
        return function(*args, **kwargs)

    return looking


def explained(error: Exception, function: Callable[..., Any], **given: Any) -> Exception:
    """
    Why a call failed: what was given wrongly, if something was, and else the error itself.

    @param function: what was called.
    @param given: the arguments to look at.
    """
    function = getattr(function, "__func__", function)
    for name, value in given.items():
        check = _checkOf(function.__annotations__[name], function.__globals__)
        try:
            if check is not None:
                check(name, value)
        except (TypeError, ValueError) as wrong:
            return wrong
    return error


def typed(kind: type, fields: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """For C{attrs.define(field_transformer=typed)}: attributes are looked at as arguments are."""
    scope = vars(__import__(kind.__module__, fromlist=["_"]))
    return [
        each.evolve(validator=_and(_Validator(each.type, scope), each.validator))
        if each.init
        else each
        for each in fields
    ]


def _and(first: _Validator, second: Any) -> Any:
    return first if second is None else and_(first, second)


class _Validator:
    """What C{attrs} calls for an attribute."""

    def __init__(self, hint: Any, scope: dict[str, Any]) -> None:
        self._hint, self._scope = hint, scope
        self._check: _Check | None = None
        self._isKnown = False

    def __call__(self, _: object, attribute: Attribute[Any], value: Any) -> None:
        if not self._isKnown:
            self._check, self._isKnown = _checkOf(self._hint, self._scope), True
        if self._check is not None:
            self._check(attribute.alias or attribute.name, value)


def _checkOf(hint: Any, scope: dict[str, Any]) -> _Check | None:
    """What looks at a value for an annotation; L{None} for one that leaves nothing to look at."""
    if isinstance(hint, str):
        try:
            hint = _evaluated(hint, scope)
        except TypeError:  # of what only type checkers put together
            return None
    alternatives = typing.get_args(hint) if _isUnion(hint) else (hint,)
    kinds = [type(None) if each is None else each for each in alternatives]
    if not all(map(_canLook, kinds)):
        return None

    # What an annotation says is found out here, once: a file may have a hundred thousand values.
    looks = [(_fitting(kind), _lookingInto(kind)) for kind in kinds]
    plain = frozenset(filter(None, map(_plainType, kinds)))

    def check(name: str, value: Any) -> None:
        if type(value) in plain:
            return
        for fits, look in looks:
            if fits(value):
                if look is not None:
                    look(name, value)
                return
        raise wrongKind(name, value, _inWords(kinds))

    return check


def _evaluated(hint: str, scope: dict[str, Any]) -> Any:
    while True:
        try:
            return eval(hint, scope)  # noqa: S307 - this package's own annotations
        except NameError as error:  # a class that is imported for type checkers only
            name = str(error.name)
            scope = {**scope, name: _Named(name, (), {})}


class _Named(type):
    """Stands for a class that cannot be imported here: its objects are known by its name."""

    def __instancecheck__(cls, value: object) -> bool:
        return cls.__name__ in [base.__name__ for base in type(value).__mro__]


def _plainType(kind: Any) -> type | None:
    """Of what type a value is enough, with nothing more to be looked at."""
    plain = typing.get_origin(kind) or kind
    isOne = isinstance(plain, type) and _lookingInto(kind) is None and not _places(kind)
    return plain if isOne else None


def _places(kind: Any) -> int:
    """Of a tuple that has a place for each of its items, how many."""
    items = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    return 0 if Ellipsis in items else len(items)


def _isUnion(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union


def _canLook(kind: Any) -> bool:
    """Whether it can be told if something is of a kind; addresses are their parsers' affair."""
    if kind in (Any, IPv4Address, IPv6Address):
        return False
    if isinstance(kind, InterfaceClass):
        return True
    origin = typing.get_origin(kind)
    if origin is not None:
        return isinstance(origin, type) and (
            issubclass(origin, Collection) or origin in (Iterable, Callable)
        )
    return isinstance(kind, type) and not getattr(kind, "_is_protocol", False)


def _fitting(kind: Any) -> Callable[[Any], bool]:
    """What tells whether a value is of a kind."""
    if isinstance(kind, InterfaceClass):
        methods = [
            name
            for name, member in kind.namesAndDescriptions(all=True)
            if isinstance(member, Method)
        ]
        return lambda value: (
            not isinstance(value, type)
            and all(callable(getattr(value, name, None)) for name in methods)
        )
    if hasattr(kind, "makeConnection"):  # Twisted asks nothing more of a protocol
        return lambda value: hasattr(value, "makeConnection") and not isinstance(value, type)
    if kind is socket.socket:  # there are others that do
        return lambda value: hasattr(value, "getsockopt") and not isinstance(value, type)
    if kind is bool:
        return lambda value: isinstance(value, int) and value in (0, 1)
    if kind is int:
        return lambda value: not isinstance(value, bool) and hasattr(value, "__index__")
    if kind is float:
        return _isNumber
    if kind is bytes:
        return lambda value: isinstance(value, bytes | bytearray)
    origin = typing.get_origin(kind) or kind
    if origin is Callable:
        return callable
    if _places(kind):
        return lambda value: isinstance(value, tuple | list) and len(value) == _places(kind)
    if origin is Iterable or (origin is not kind and issubclass(origin, Collection)):
        wantsMapping = hasattr(origin, "keys")
        return lambda value: _isSeveral(value) and hasattr(value, "keys") == wantsMapping
    return lambda value: isinstance(value, origin)


def _isNumber(value: Any) -> bool:
    isOne = hasattr(value, "__index__") or hasattr(value, "__float__")
    return isOne and not isinstance(value, bool)


def _isSeveral(value: Any) -> bool:
    """What is told apart is one from several: a tuple does where a list is asked for."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray)


def _lookingInto(kind: Any) -> _Check | None:
    """What looks at the number that something is, or at what a list or a mapping has."""
    if kind is float:
        return _isSane
    origin = typing.get_origin(kind)
    if origin is None or origin is Callable:
        return None
    items = [item for item in typing.get_args(kind) if item is not Ellipsis]
    checks = [_checkOf(item, {}) for item in items]
    if not any(checks):
        return None
    if hasattr(origin, "keys"):
        return _lookingIntoMapping(*checks, *[None] * (2 - len(checks)))  # of a Counter, one
    every = itertools.repeat(checks[0])

    def look(name: str, value: Any) -> None:
        if isinstance(value, list | tuple | set | frozenset):
            ours = checks if _places(kind) else every
            for number, (item, check) in enumerate(zip(value, ours, strict=False)):
                if check is not None:
                    check(f"{name}[{number}]", item)

    return look


def _lookingIntoMapping(checkKey: _Check | None, checkItem: _Check | None) -> _Check:
    def look(name: str, value: Any) -> None:
        for key in value.keys():  # noqa: SIM118 - what has no more of a mapping than that
            if checkKey is not None:
                checkKey(f"a key of {name}", key)
            if checkItem is not None:
                checkItem(f"{name}[{key!r}]", value[key])

    return look


def _isSane(name: str, value: Any) -> None:
    number = value.__index__() if hasattr(value, "__index__") else float(value)
    if not -MOST <= number <= MOST:
        wanted = f"from {-MOST:,} to {MOST:,}" if abs(number) < math.inf else "a finite number"
        raise ValueError(f"{name} is {value!r}: it has to be {wanted}")


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
}


def _inWords(kinds: list[Any]) -> str:
    """What would have been right."""
    return " or ".join(map(_word, kinds))


def _word(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    origin = typing.get_origin(kind)
    if origin is Callable:
        return "something to call"
    if _places(kind):
        return f"({', '.join(map(_word, typing.get_args(kind)))})"
    if origin is not None:
        items = [each for each in typing.get_args(kind) if each is not Ellipsis]
        if hasattr(origin, "keys"):
            key, item = map(_word, (*items, int)[:2])  # a Counter has the one
            return f"a dict, each key {key}, each value {item}"
        return f"a list, each of {_inWords(items)}, also of a single one: [...]"
    if isinstance(kind, InterfaceClass):
        return f"an object that provides {kind.__name__}"
    return withArticle(kind.__name__)

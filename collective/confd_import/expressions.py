"""Convert an expression (a pipeline) of a Go template into one of Jinja2.

getv "/name" | toUpper     →     getv("/name") | upper
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from collective.confd_import.go_words import NotConverted, Word

Arguments = Sequence[str]
_FIELDS = {"Key": "key", "Value": "value"}  # of the pairs that `gets` returns
_WITH_KEYS = ("get", "getv", "gets", "getvs", "exists", "ls", "lsdir")
_STARTS = ("/members/", "/roles/")  # of the keys that members have


def _call(name: str, least: int, most: int) -> Callable[[Arguments], str]:
    return _counted(lambda args: f"{name}({', '.join(args)})", least, most)


def _counted(write: Callable[[Arguments], str], least: int, most: int | None = None) -> Callable[[Arguments], str]:
    """Return a function that checks the number of arguments, and then writes the call."""

    def written(args: Arguments) -> str:
        if not least <= len(args) <= (least if most is None else most):
            raise NotConverted(f"a call with {len(args)} arguments has no counterpart")
        return write(args)

    return written


def _joined(sign: str) -> Callable[[Arguments], str]:
    return _counted(lambda args: f"({f' {sign} '.join(args)})", 2, 20)


def _equal(args: Arguments) -> str:
    first, *others = args
    return f"({' or '.join(f'{first} == {other}' for other in others)})"


def _replace(args: Arguments) -> str:
    text, old, new, count = args
    if count != "-1":
        raise NotConverted(f"replace: a number of {count} has no counterpart")
    return f"({text} | replace({old}, {new}))"


def _printf(args: Arguments) -> str:
    form = args[0].replace("%v", "%s")
    if not form.startswith('"') or form.count("%") != form.count("%s") + form.count("%d"):
        raise NotConverted(f"printf: the format {args[0]} has no counterpart")
    return f"({form} | format({', '.join(args[1:])}))"


FUNCTIONS: Mapping[str, Callable[[Arguments], str]] = {
    "get": _call("get", 1, 1),
    "getv": _call("getv", 1, 2),
    "gets": _call("gets", 1, 1),
    "getvs": _call("getvs", 1, 1),
    "exists": _call("exists", 1, 1),
    "ls": _call("ls", 1, 1),
    "lsdir": _call("lsdir", 1, 1),
    "base": _call("base", 1, 1),
    "dir": _call("dir", 1, 1),
    "eq": _counted(_equal, 2, 20),
    **{name: _joined(sign) for name, sign in {"and": "and", "or": "or"}.items()},
    **{
        name: _counted(lambda args, sign=sign: f"({args[0]} {sign} {args[1]})", 2)  # type: ignore[misc]
        for name, sign in {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "add": "+", "sub": "-"}.items()
    },
    "not": _counted(lambda args: f"(not {args[0]})", 1),
    "len": _counted(lambda args: f"({args[0]} | length)", 1),
    "index": _counted(lambda args: args[0] + "".join(f"[{one}]" for one in args[1:]), 2, 10),
    "printf": _counted(_printf, 1, 20),
    "join": _counted(lambda args: f"({args[0]} | join({args[1]}))", 2),
    "split": _counted(lambda args: f"{args[0]}.split({args[1]})", 2),
    "toUpper": _counted(lambda args: f"({args[0]} | upper)", 1),
    "toLower": _counted(lambda args: f"({args[0]} | lower)", 1),
    "contains": _counted(lambda args: f"({args[1]} in {args[0]})", 2),
    "replace": _counted(_replace, 4),
    "atoi": _counted(lambda args: f"({args[0]} | int)", 1),
}


class Expressions:
    """Converts expressions. `keys` replaces the starts of keys; `problems` collects keys that members do not have."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(sorted(keys.items(), key=lambda pair: -len(pair[0])))
        self.problems: list[str] = []

    def converted(self, words: Sequence[Word], dot: str | None) -> str:
        """Return the expression of Jinja2; `dot` is what `.` stands for, None outside of a range."""
        if not words:
            raise NotConverted("an expression is missing")
        value: str | None = None
        for command in _pipeline(words):
            value = self._command(command, dot, value)
        assert value is not None  # noqa: S101 - there is at least one command
        return value

    def _command(self, words: Sequence[Word], dot: str | None, piped: str | None) -> str:
        """Convert a call, or an operand; `piped` is the last argument of a call in a pipeline."""
        first, *others = words
        if first.kind == "name" and first.text not in ("true", "false"):
            if first.text not in FUNCTIONS:
                raise NotConverted(f"the function '{first.text}' has no counterpart")
            args = [*self._operands(others, dot), *([] if piped is None else [piped])]
            if first.text in _WITH_KEYS and args:
                args[0] = self._key(args[0])
            return FUNCTIONS[first.text](args)
        operands = self._operands(words, dot)
        if piped is not None or len(operands) != 1:
            raise NotConverted(f"'{first.text}' is not a function")
        return operands[0]

    def _operands(self, words: Sequence[Word], dot: str | None) -> list[str]:
        found, place = [], 0
        while place < len(words):
            if words[place].text == "(" and words[place].kind == "sign":
                end = _closing(words, place)
                found.append(self.converted(words[place + 1 : end], dot))
                place = end + 1
            else:
                found.append(_operand(words[place], dot))
                place += 1
        return found

    def _key(self, argument: str) -> str:
        """Return the argument for a key: a literal one with its start replaced. confd's keys begin with a slash."""
        if argument.startswith(tuple(f'("{start}' for start in _STARTS)):  # `printf` of a known form
            return argument
        if not argument.startswith('"'):
            self.problems.append(f"the key {argument} is calculated: make sure that members have it")
            return argument
        key = "/" + str(json.loads(argument)).removeprefix("/")
        for old, new in self._keys.items():
            if key == old or key.startswith(old.rstrip("/") + "/"):
                key = new.rstrip("/") + key[len(old.rstrip("/")) :]
                break
        if not f"{key}/".startswith(_STARTS):
            self.problems.append(f"members have no key '{key}' (use --key, such as --key '{key}=/roles/web')")
        return json.dumps(key, ensure_ascii=False)


def _pipeline(words: Sequence[Word]) -> list[list[Word]]:
    """Return the commands between the signs `|` that are not within parentheses."""
    commands: list[list[Word]] = [[]]
    depth = 0
    for word in words:
        if word.kind == "sign":
            depth += {"(": 1, ")": -1}.get(word.text, 0)
            if word.text in (":=", "=", ","):
                raise NotConverted(f"'{word.text}' at this place has no counterpart")
        if word == Word("sign", "|") and depth == 0:
            commands.append([])
        else:
            commands[-1].append(word)
    if depth or not all(commands):
        raise NotConverted("parentheses or parts of a pipeline are missing")
    return commands


def _closing(words: Sequence[Word], place: int) -> int:
    depth = 0
    for number in range(place, len(words)):
        if words[number].kind == "sign":
            depth += {"(": 1, ")": -1}.get(words[number].text, 0)
        if depth == 0:
            return number
    raise NotConverted("a parenthesis is missing")


def _operand(word: Word, dot: str | None) -> str:
    if word.kind == "string":
        return json.dumps(word.text, ensure_ascii=False)
    if word.kind == "number" or word.text in ("true", "false"):
        return word.text
    if word.kind == "field":
        if dot is None:
            raise NotConverted(f"'{word.text}' outside of range and with has no counterpart")
        return dot + _members(word.text[1:])
    if word.kind == "variable" and word.text[1:].split(".")[0]:
        name, _, rest = word.text[1:].partition(".")
        return variable(name) + _members(rest)
    raise NotConverted(f"'{word.text}' has no counterpart")


def variable(name: str) -> str:
    """Return the name of a variable; without the prefix, it could hide a function."""
    return f"v_{name}"


def _members(path: str) -> str:
    return "".join(f".{_FIELDS.get(name, name)}" for name in path.split(".") if name)

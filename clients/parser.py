"""Parse command lines: options before or after the command, common options, and help pages with examples.

    parser = Parser("crpc ping", description="…", examples=["crpc ping -F role=web"])
    parser.add_argument("--count", action="store_true", help="…")
    args = parser.parse_args(arguments)      args.output, args.color, args.config, args.verbose, args.debug

Every parser has the common options. A verb (`crpc nodes list`) is a parser of its own; its options are also accepted
before the verb.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from collective.clients.streams import log_to, write
from collective.clients.view_options import add_forms, check_output_file
from collective.errors import UsageError
from collective.suggestions import suggest
from collective.version import __version__

COLORS = ("auto", "always", "never")
_UNKNOWN = re.compile(r"unrecognized arguments: (-[^ =]*).*", re.DOTALL)
_EXTRA = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)
_IGNORED = re.compile(r".*: ignored explicit argument '(.*)'", re.DOTALL)
_CHOICE = re.compile(r"(.*: invalid choice: '(.*)') \(choose from (.*)\)", re.DOTALL)
# Options of other programs, and what they are here.
_MEANT = {
    "--jq": "--jmespath",
    "--query": "--jmespath",
    "--format": "--output",
    "--filter": "--where",
    "--sort-by": "--sort",
    "--order": "--sort",
    "--columns": "--fields",
    "--selector": "--select",
}
_EXAMPLES = "examples:\n"


def split_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before and after `--`, which are for another program."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


class Once(argparse.Action):
    """Store the value of an option that may be given once; a second value is an error, not a silent replacement."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        seen = vars(namespace).setdefault("_seen", set())
        if option_string and self.dest in seen:
            parser.error(f"{option_string} given more than once")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


class Verbs(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001 - there is no public name
    """The verbs of a command; the help line of a verb is also the description on its own help page."""

    def add_parser(self, name: str, **settings: Any) -> Parser:
        """Add a verb and return its parser."""
        summary = str(settings.get("help", ""))
        settings.setdefault("description", f"{summary[:1].upper()}{summary[1:]}.")
        parser: Parser = super().add_parser(name, **settings)
        return parser


class _Formatter(argparse.HelpFormatter):
    """Wrap each paragraph of a description; print examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return textwrap.indent(text, indent)
        return "\n\n".join(super(_Formatter, self)._fill_text(part, width, indent) for part in text.split("\n\n"))


def examples_epilog(examples: Iterable[str]) -> str | None:
    """Return the end of a help page: the examples; None if there are none."""
    lines = [f"  {example}" for example in examples if example]
    return _EXAMPLES + "\n".join(lines) if lines else None


class Parser(argparse.ArgumentParser):
    """argparse's parser with the common options; raises UsageError for a wrong command line.

    `description` may have several paragraphs. `examples` are complete command lines, shown at the end of the help page.
    """

    def __init__(self, prog: str, *, examples: Iterable[str] = (), add_help: bool = True, **settings: Any) -> None:
        self.examples = tuple(examples)
        super().__init__(
            prog=prog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=_Formatter,
            **{"epilog": examples_epilog(self.examples), **settings},
        )
        self.register("action", None, Once)
        self.register("action", "parsers", Verbs)
        self.file_forms: tuple[str, ...] = ()  # suffixes of --output-file that only this command has
        self._words: list[str] = []
        self._variables: dict[str, tuple[str, Any]] = {}
        self._forms = self.add_argument_group("output options")
        self._common = self.add_argument_group("common options")
        self._add_common()
        if add_help:
            self._common.add_argument("-h", "--help", action="help", help="print this page")

    def _add_common(self) -> None:
        add_forms(self, self._forms)
        group = self._common
        color = group.add_mutually_exclusive_group()
        color.add_argument("--color", choices=COLORS, metavar="WHEN", help="auto (default), always or never")
        color.add_argument(
            "--no-color", action="store_const", dest="color", const="never", help="same as --color never"
        )
        group.add_argument(
            "--config", type=Path, metavar="FILE", help="read this file instead of the usual client.yaml"
        )
        group.add_argument("-v", "--verbose", action="store_true", help="print more details")
        group.add_argument("--debug", action="store_true", help="print a traceback if an error occurs")
        group.add_argument("-V", "--version", action="version", version=f"crpc {__version__}", help="print the version")
        self.read_variable("color", "COLLECTIVE_COLOR", "auto")

    def read_variable(self, dest: str, variable: str, default: Any = None) -> None:
        """Take the value of an option from an environment variable when the command line does not have it."""
        self._variables[dest] = (variable, default)

    def add_subparsers(self, **settings: Any) -> Verbs:
        """Add verbs; each verb is a `Parser` of its own."""
        return cast(Verbs, super().add_subparsers(parser_class=type(self), **settings))

    @property
    def verbs(self) -> dict[str, Parser]:
        """The parsers of the verbs by name; empty for a command without verbs."""
        action = self._verbs_action()
        return dict(action.choices) if action else {}

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse `args`, options and other words in any order; raise UsageError.

        An option that the command line does not have is read from its environment variable, if it has one.
        """
        self._words = words = list(sys.argv[1:] if args is None else args)
        namespace = argparse.Namespace() if namespace is None else namespace
        action = self._verbs_action()
        if action is None:
            return self._finish(self.parse_intermixed_args(words, namespace))
        words = self.command_first(words)
        if words and words[0] in action.choices:
            setattr(namespace, action.dest, words[0])
            return self.verbs[words[0]].parse_args(words[1:], namespace)
        return self._finish(super().parse_args(words, namespace))

    def command_first(self, words: Sequence[str], others: Iterable[Parser] = ()) -> list[str]:
        """Return `words` with the options that precede the first other word moved behind it.

        The options are those of this parser, of its verbs and of `others`; raise UsageError for an unknown one.
        """
        known = [*others, *self.verbs.values(), self]
        takes_value = {option: found.nargs != 0 for parser in known for option, found in parser.options.items()}
        place = 0
        while place < len(words) and words[place].startswith("-") and words[place] not in ("-", "--"):
            place += 1 + self._takes_next_word(words[place], takes_value)
        return [*words[place : place + 1], *words[:place], *words[place + 1 :]]

    @property
    def options(self) -> dict[str, argparse.Action]:
        """The options of this parser by name, such as `-t` and `--timeout`, without those that no page shows."""
        return {name: one for name, one in self._option_string_actions.items() if one.help is not argparse.SUPPRESS}

    @property
    def option_names(self) -> Collection[str]:
        """The names of all options, also of those that no page shows."""
        return self._option_string_actions.keys()

    def format_usage(self) -> str:
        """Return a short usage line: the words, required options, and `[options]` for the others."""
        return f"usage: {self.usage or self._short_usage()}\n"

    def format_help(self) -> str:
        """Return the help page; the options of every command come last."""
        self.usage = (self.usage or self._short_usage()).strip()
        self._action_groups.sort(key=lambda group: (group is self._forms, group is self._common))
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            write(message, file)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError for a wrong command line, with a suggestion for a mistyped option."""
        ignored = _IGNORED.fullmatch(message)
        if ignored and not any(word.endswith(f"={ignored[1]}") for word in self._words):
            message = f"unrecognized arguments: -{ignored[1]}"  # in `-vT`: what argparse reports from Python 3.13 on
        message = message.removeprefix("argument ").replace(": ignored explicit argument ", ": takes no value, not ")
        hint = f"see '{self.prog} --help'"
        if unknown := _UNKNOWN.fullmatch(message):
            message = f"unknown option '{unknown[1]}'"
            hint = self._hint(unknown[1], hint)
        elif extra := _EXTRA.fullmatch(message):
            message = f"unexpected argument '{extra[1]}'"
        elif choice := _CHOICE.fullmatch(message):
            message, choices = choice[1], choice[3].replace("'", "").split(", ")
            hint = suggest(choice[2], choices, f"choose from {', '.join(choices)}")
        raise UsageError(f"{message} ({hint})")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Return the value of an option or word; before Python 3.13, argparse reads `--name=--` as an empty list."""
        if arg_strings != ["--"] or action.nargs is not None or not action.option_strings:
            return super()._get_values(action, arg_strings)
        value = self._get_value(action, "--")
        self._check_value(action, value)
        return value

    def _hint(self, unknown: str, otherwise: str) -> str:
        """Return what may be meant by an unknown option; `otherwise` if nothing is similar."""
        options, meant = self._all_options(), _MEANT.get(unknown)
        if meant in options:
            return f"did you mean '{meant}'?"
        if verbs := [verb.prog for verb in self.verbs.values() if unknown in verb.options]:
            return f"an option of '{verbs[0]}'"
        return suggest(unknown, options, otherwise)

    def _all_options(self) -> set[str]:
        return {option for parser in (self, *self.verbs.values()) for option in parser.options}

    def _verbs_action(self) -> Verbs | None:
        return next((action for action in self._actions if isinstance(action, Verbs)), None)

    def _takes_next_word(self, word: str, takes_value: dict[str, bool]) -> bool:
        """Return whether the value of the option `word` is the next word."""
        name, equals, _ = word.partition("=")
        if name in takes_value:
            return takes_value[name] and not equals
        for place, letter in enumerate(word[1:], start=2):  # -vj, -vTstaging, -vT staging
            if word.startswith("--") or f"-{letter}" not in takes_value:
                self.error(f"unrecognized arguments: {word}")
            if takes_value[f"-{letter}"]:
                return place == len(word)
        return False

    def _finish(self, args: argparse.Namespace) -> argparse.Namespace:
        from_variables = vars(args).setdefault("from_variables", {})
        for dest, (variable, default) in self._variables.items():
            if getattr(args, dest, None) is None:
                value = self._variable(dest, variable)
                setattr(args, dest, default if value is None else value)
                if value is not None:
                    from_variables[dest] = variable
        if args.output_file is not None:
            check_output_file(args.output_file, self.file_forms)
        if args.log_file is not None:
            log_to(args.log_file)
        if args.verbose:
            logging.getLogger("collective").setLevel(logging.INFO)
        elif getattr(args, "quiet", False):
            logging.getLogger("collective").setLevel(logging.ERROR)
        return args

    def _variable(self, dest: str, variable: str) -> Any:
        """Return the value of an environment variable as its option would read it; None when it is not set."""
        text = os.environ.get(variable)
        if not text:
            return None
        action = next(action for action in self._actions if action.dest == dest)
        try:
            value = self._get_value(action, text)
            self._check_value(action, value)
        except argparse.ArgumentError as error:
            raise UsageError(f"{variable}: {error.message}") from None
        return value

    def _short_usage(self) -> str:
        words = [self.prog]
        for action in self._get_positional_actions():
            name = str(action.metavar or action.dest.upper())
            shapes = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}
            words.append(shapes.get(str(action.nargs), name))
        required = [action for action in self._get_optional_actions() if action.required]
        words += [f"{action.option_strings[-1]} {action.metavar}" for action in required]
        return " ".join([*words, "[options]"])

"""`crpc plugin push FOLDER`: install agents on nodes; `crpc plugin rollback NAME`: return to the version before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collective.clients.commands import COMMANDS, rpc
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.suggestions import suggest

_VERBS = ("push", "rollback", "list")
_ABOUT = (
    "'push' sends the folders 'agents' and 'ddl' of FOLDER as one bundle, in a request that this caller's key signs. A "
    "node whose policy allows 'plugins install' loads the plug-in on trial, and then serves it. A plug-in that cannot "
    "be loaded changes nothing. The name is that of the DDL; with several DDLs, add name=NAME.\n\n"
    "'rollback' returns to the version before, and 'list' shows what was pushed. All options of a call apply: targets, "
    "waves, gates."
)


def make_parser() -> Parser:
    """Return the parser of `crpc plugin`."""
    return rpc.make_parser(
        "crpc plugin",
        "crpc plugin push FOLDER | rollback NAME | list [options]",
        f"{COMMANDS['plugin']}.\n\n{_ABOUT}",
        [
            "crpc plugin push . -F role=web",
            "crpc plugin push load --waves 1,50%,rest --max-fail 1",
            "crpc plugin rollback load -F role=web",
            "crpc plugin list",
        ],
    )


def run(arguments: Sequence[str]) -> int:
    """Send the request of a verb and print the replies; return the exit code of the call."""
    args = make_parser().parse_args(arguments)
    verb, *words = args.words or [""]
    if verb not in _VERBS:
        hint = suggest(verb, _VERBS, f"verbs: {', '.join(_VERBS)}")
        raise UsageError(f"plugin: unknown verb '{verb}' ({hint})" if verb else f"plugin: verb missing ({hint})")
    if verb == "push":
        return rpc.perform(args, ["plugins", "install", *_bundle(words)])
    return rpc.perform(args, ["plugins", verb, *words])


def _bundle(words: Sequence[str]) -> list[str]:
    """Return the inputs for a folder, and `name=NAME` if it is given."""
    from collective import bundles

    folders = [word for word in words if not word.startswith("name=")]
    named = [word.removeprefix("name=") for word in words if word.startswith("name=")]
    if len(folders) != 1 or len(named) > 1:
        raise UsageError("crpc plugin push: give one folder (and name=NAME for a folder with several DDLs)")
    text = bundles.pack(Path(folders[0]), named[0] if named else None).text()
    return [f"bundle={text}", f"digest={bundles.digest(text)}"]

"""Read YAML facts so that one odd value does not cost the others.

Unknown tags, such as those of Ruby objects, are read as what they contain. `!binary` text is decoded. A value that
cannot be read becomes `Unreadable`, with the reason.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import yaml

from collective.yaml_file import Loader

_NESTED_KEY = "!a key that is not a scalar"  # no document can contain this tag


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that cannot be a fact; `reason` says why."""

    reason: str


class FactsLoader(Loader):
    """The loader of YAML facts."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Return the value of a node; Unreadable if it does not match its tag."""
        try:
            return super().construct_object(node, deep=deep)
        except (yaml.MarkedYAMLError, ValueError, LookupError, AttributeError) as error:
            # PyYAML raises the last two for a value that does not match its tag: `!!bool maybe`.
            if not isinstance(node, yaml.ScalarNode):
                raise
            self.recursive_objects.pop(node, None)
            reason = getattr(error, "problem", None) or f"{node.value[:80]!r} does not match its tag {node.tag}"
            return Unreadable(reason)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; a key that is a list or mapping, which JSON cannot have, is Unreadable."""
        self.flatten_mapping(node)
        node.value = [(_scalar_key(key), value) for key, value in node.value]
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_contained(self, node: Any) -> Any:
        """Yield the content of a node with an unknown tag, as PyYAML's constructors do."""
        if isinstance(node, yaml.MappingNode):
            mapping: dict[Any, Any] = {}
            yield mapping
            mapping.update(self.construct_mapping(node))
        elif isinstance(node, yaml.SequenceNode):
            sequence: list[Any] = []
            yield sequence
            sequence.extend(self.construct_sequence(node))
        else:
            yield self.construct_scalar(node)

    def construct_text(self, node: Any) -> str:
        """Return the text that a `!binary` contains; raise ValueError if it is not base64 of UTF-8."""
        try:
            return base64.b64decode("".join(str(node.value).split()), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise yaml.constructor.ConstructorError(problem="binary data that is not UTF-8 text") from None


def _scalar_key(key: Any) -> Any:
    return key if isinstance(key, yaml.ScalarNode) else yaml.ScalarNode(_NESTED_KEY, "")


def _nested_key(_loader: FactsLoader, _node: Any) -> Unreadable:
    return Unreadable("a list or mapping cannot be a key")


FactsLoader.add_constructor(_NESTED_KEY, _nested_key)
FactsLoader.add_constructor(None, FactsLoader.construct_contained)
for _tag in ("tag:yaml.org,2002:binary", "!binary"):
    FactsLoader.add_constructor(_tag, FactsLoader.construct_text)
for _tag in ("set", "omap", "pairs", "python/tuple"):
    FactsLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", FactsLoader.construct_contained)

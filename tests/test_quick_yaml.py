"""Files of keys and words are read without PyYAML, and mean what PyYAML finds in them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from collective.errors import ConfigError
from collective.quick_yaml import plain_yaml, read_quickly
from collective.yaml_file import parse_yaml

PLAIN = {
    "collective: lab\ncaller: operator@lab\nkey: key\nddls:\n- ddl\n": {
        "collective": "lab",
        "caller": "operator@lab",
        "key": "key",
        "ddls": ["ddl"],
    },
    "a: 1\nb: 0.5\nc: true\nd: 10m\ne: no\n": {"a": 1, "b": 0.5, "c": True, "d": "10m", "e": "no"},
    "# a comment…\na: b  # another one\n\nc: '*'\nd: \"x y\"\n": {"a": "b", "c": "*", "d": "x y"},
    "groups:\n  web:\n    filter: role=web and not x\n  db:\n    nodes:\n      - a\n      - b\nz: http://h:1/p\n": {
        "groups": {"web": {"filter": "role=web and not x"}, "db": {"nodes": ["a", "b"]}},
        "z": "http://h:1/p",
    },
}
PARTS = (
    *(
        "a",
        "b: ",
        "key: ",
        "true",
        "no",
        "null",
        "~",
        "0",
        "12",
        "012",
        "1.5",
        "1e3",
        ".5",
        "-1",
        "1_000",
        "0x1F",
        "=",
        "<<: ",
    ),
    *(
        " ",
        "  ",
        "\n",
        "\n  ",
        "\n- ",
        "\n  - ",
        "\n    ",
        ":",
        ": ",
        " #",
        "#",
        "'",
        '"',
        "\\",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
    ),
    *(
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "? ",
        "-",
        "- ",
        "---",
        "...",
        "\t",
        "\r",
        "\x85",
        "\u2028",
        "é",
        "\ufeff",
        "/",
        "word two",
    ),
)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_file_is_read_without_pyyaml(text: str) -> None:
    """Keys, words, numbers, lists and nested mappings are known."""
    assert plain_yaml(text) == PLAIN[text] == parse_yaml(text, "test")


@pytest.mark.parametrize(
    "text", ["", "a", "- a\n", "a:\n", "a: b\na: c\n", "a: [b]\n", "a: b\n  c\n", "a: b\n c: d\n", "a: &x b\n"]
)
def test_anything_else_is_left_to_pyyaml(text: str) -> None:
    """What is not plain, and every mistake, is not judged here."""
    assert plain_yaml(text) is None


def test_a_text_means_the_same_as_for_pyyaml() -> None:
    """Of many texts, those that are plain have the value that PyYAML finds, of the same types."""
    numbers = random.Random(15)  # noqa: S311
    plain = 0
    for _ in range(20_000):
        text = "".join(numbers.choices(PARTS, k=numbers.randint(2, 12)))
        text = numbers.choice(("", "a: ", "key:\n- ", "key:\n  b: ")) + text
        if (found := plain_yaml(text)) is not None:
            plain += 1
            assert repr(found) == repr(parse_yaml(text, "test")), text
    assert plain > 300


def test_a_mistake_is_described_as_ever(tmp_path: Path) -> None:
    """A file that is not plain is read by PyYAML, whose errors have line and column."""
    path = tmp_path / "client.yaml"
    path.write_text("collective: lab\ncollective: other\n")
    with pytest.raises(ConfigError, match=r"client\.yaml:2:1: duplicate key 'collective'"):
        read_quickly(path)
    with pytest.raises(ConfigError, match="missing: cannot be read"):
        read_quickly(tmp_path / "missing")

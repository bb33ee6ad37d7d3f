"""Rules for the tests themselves: no sleeps, no imports from each other, docstrings that stand alone, unique names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from support.documents import ROOT, name

TESTS = sorted((ROOT / "tests").rglob("*.py"))
SHIPPED = sorted(path for folder in ("agents", "clients", "collective") for path in (ROOT / folder).rglob("*.py"))
TREES = {name(path): ast.parse(path.read_text(encoding="utf-8")) for path in (*TESTS, *SHIPPED)}

MAY_SLEEP = {
    "tests/bench/calls.py": "a benchmark waits between calls until all nodes poll again",
    "tests/bench/run.py": "a benchmark measures an idle node for a minute, and pauses between its rounds",
    "tests/bench/soak.py": "a benchmark takes one sample per minute",
    "tests/e2e/test_network_cut.py": "the sleep is the duration of the cut",
    "tests/bench/mcollective.py": "all nodes poll again before the next call is measured",
    "tests/support/waiting.py": "the pause between two checks of a condition",
}
SLEEPS = re.compile(r"(time\.)?sleep\(|(threading\.)?Event\(\)\.wait\(")

# A docstring that begins with one of these words refers to the name of its test.
REFERS = re.compile(r"(Its?|They|Their|So|Such|That|These|Those|And|But)\b")
FRAGMENT = re.compile(r"(Exit \d+\b|(On|With|In|For|By) [^,]*$)")  # it has no main clause
SHORTEST = 4  # words of a docstring


def sleeps(tree: ast.AST) -> list[int]:
    """Return the lines with a call that sleeps; code in strings, which other processes run, does not count."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node.lineno for node in calls if SLEEPS.match(ast.unparse(node))]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of the imported modules and names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def from_test_modules(tree: ast.AST) -> list[str]:
    """Return the test modules among the imported ones."""
    return [one for one in imported(tree) if any(part.startswith("test_") for part in one.split(".")[:-1])]


def problem(docstring: str | None) -> str | None:
    """Return what is wrong with the docstring of a test."""
    if docstring is None:
        return "no docstring"
    sentence = docstring.split("\n\n")[0]
    if not sentence.endswith("."):
        return "does not end with a full stop"
    if len(sentence.split()) < SHORTEST:
        return f"has fewer than {SHORTEST} words"
    if FRAGMENT.match(sentence):
        return "is not a sentence"
    return f"begins with '{found[0]}'" if (found := REFERS.match(sentence)) else None


def is_constant(node: ast.expr) -> bool:
    """Return whether an expression is a module's constant, such as `LIMIT` or `module.LIMIT`."""
    last = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return last.lstrip("_").isupper()


def is_literal(node: ast.expr) -> bool:
    """Return whether an expression consists of literals only."""
    return all(isinstance(part, ast.Constant | ast.expr_context | ast.Tuple | ast.List) for part in ast.walk(node))


def restated(tree: ast.AST) -> list[int]:
    """Return the lines of the assertions that compare a constant with a literal, and nothing else."""
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare)]
    found = []
    for node in asserts:
        assert isinstance(node.test, ast.Compare)
        parts = [node.test.left, *node.test.comparators]
        if all(is_constant(part) or is_literal(part) for part in parts) and any(map(is_constant, parts)):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("time.sleep(1)", 1),
        ("sleep(1)", 1),
        ("threading.Event().wait(0.1)", 1),
        ("Event().wait(0.1)", 1),
        ("stopping.wait(30)", 0),
        ("code = 'time.sleep(600)'", 0),
    ],
)
def test_a_sleep_is_found(source: str, lines: int) -> None:
    """A sleep of the test itself is found; waiting for an event that is set, and code of another process, is not."""
    assert len(sleeps(ast.parse(source))) == lines


def test_only_named_modules_sleep() -> None:
    """Tests wait for conditions with support/waiting.py; each module that sleeps has a reason in MAY_SLEEP."""
    assert {where for where, tree in TREES.items() if where.startswith("tests/") and sleeps(tree)} == set(MAY_SLEEP)


def test_no_module_imports_from_a_test_module() -> None:
    """What several test modules use is in tests/support or in a conftest.py."""
    assert {where: found for where, tree in TREES.items() if (found := from_test_modules(tree))} == {}


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (None, "no docstring"),
        ("A missing file is refused", "does not end with a full stop"),
        ("Nothing is sent.", "has fewer than 4 words"),
        ("It starts, refuses and counts.", "begins with 'It'"),
        ("Exit 78, and the line names the file.", "is not a sentence"),
        ("On the page of the filter language.", "is not a sentence"),
        ("On a terminal, the answer is read.", None),
        ("A missing file is refused with its path.", None),
    ],
)
def test_a_docstring_that_does_not_stand_alone_is_found(docstring: str | None, expected: str | None) -> None:
    """A docstring is found that is missing, too short, not a sentence, or that refers to the name of its test."""
    assert problem(docstring) == expected


def test_the_docstring_of_every_test_stands_alone() -> None:
    """Each test has a docstring that is a sentence, and is understood without the name of the test."""
    tests = {
        f"{where}:{node.lineno}": ast.get_docstring(node)
        for where, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and where.startswith("tests/")
    }
    assert {where: found for where, docstring in tests.items() if (found := problem(docstring))} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("assert LIMIT == 5", 1),
        ("assert module.LIMIT == (5, 6)", 1),
        ("assert module._LIMIT <= 256", 1),
        ("assert len(name) <= LIMIT", 0),
        ("assert total(items) == 5", 0),
        ("assert SHORT < LONG", 1),
    ],
)
def test_an_assertion_about_a_constant_is_found(source: str, lines: int) -> None:
    """An assertion that only constants and literals decide is found; one about a computed value is not."""
    assert len(restated(ast.parse(source))) == lines


def test_no_assertion_restates_a_constant() -> None:
    """Each assertion depends on what code does, because a test that repeats a constant finds no error."""
    assert {where: lines for where, tree in TREES.items() if (lines := restated(tree))} == {}


def test_no_two_classes_share_a_name() -> None:
    """Each class has a unique name in the whole project, tests included, so that a name means one thing."""
    modules: dict[str, list[str]] = {}
    for where, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules.setdefault(node.name, []).append(where)
    assert {one: places for one, places in modules.items() if len(places) > 1} == {}

"""Filters: what people write, what travels, and which nodes match."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.errors import MessageError, UsageError
from collective.filters import (
    AllOf,
    AnyOf,
    Budget,
    ClassTest,
    DataTest,
    FactTest,
    Filter,
    Not,
    explain,
    leaves,
    matches,
    parse,
    select_text,
    to_options,
    uses_data,
)

CASES = Path(__file__).parent / "cases" / "filters"
FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in CASES.glob("*.json")}
EVIL = "/(a|aa)+$/"


@dataclass
class Machine:
    """A node as a filter sees it; `data` holds answers by function and query."""

    identity: str = "web1.my.net"
    facts: Any = field(default_factory=dict)
    classes: Any = ()
    agents: Any = ()
    data: Any = field(default_factory=dict)

    def ask(self, function: str, query: str) -> Mapping[str, Any] | None:
        """Answer as the node's data functions do."""
        answers = self.data.get(function)
        return None if answers is None else answers.get(query, {})


def cases(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in FILES[group]["cases"]])


def hits(asked: Filter, node: Machine) -> bool:
    return matches(asked, node, node.ask)


def of_fact(value: Any, operator: str, wanted: str) -> bool:
    return hits(Filter(facts=(FactTest("it", operator, wanted),)), Machine(facts={"it": value}))


# -- the field's own cases


@cases("fact_parse")
def test_a_fact_is_read_as_mcollective_reads_it(case: Any) -> None:
    """Each spelling of a fact becomes the name, operator and value that people expect."""
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(UsageError, match="column"):
            parse(with_fact=[case["input"]["string"]])
        return
    assert parse(with_fact=[case["input"]["string"]]).to_data()["facts"] == [expected]


@cases("fact_filter")
def test_a_fact_is_compared_as_mcollective_compares_it(case: Any) -> None:
    """A fact's value, an operator and a wanted value match or do not."""
    given_ = case["input"]
    assert of_fact(given_["fact_value"], given_["operator"], given_["value"]) is case["expected"]


@cases("identity_filter")
def test_any_identity_is_enough(case: Any) -> None:
    """Of several identities one must be the node's, by name or expression."""
    asked = parse(with_identity=case["input"]["filters"])
    assert hits(asked, Machine(identity=case["input"]["identity"])) is case["expected"]


@cases("class_filter")
def test_all_classes_are_required(case: Any) -> None:
    """Every class must be there, by name or expression."""
    asked = parse(with_class=case["input"]["filters"])
    assert hits(asked, Machine(classes=case["input"]["classes"] or ())) is case["expected"]


@cases("agent_filter")
def test_all_agents_are_required(case: Any) -> None:
    """Every agent must be there, by name or expression."""
    asked = parse(with_agent=case["input"]["filters"])
    assert hits(asked, Machine(agents=case["input"]["agents"])) is case["expected"]


@cases("combined_filter")
def test_different_kinds_are_all_required(case: Any) -> None:
    """Facts, classes, agents and identities must hold together."""
    wanted = case["input"]["filter"]
    asked = Filter.from_data(
        {
            "facts": wanted.get("fact", []),
            "classes": wanted.get("cf_class", []),
            "agents": wanted.get("agent", []),
            "identities": wanted.get("identity", []),
            "select": None,
        }
    )
    assert hits(asked, Machine(**case["input"]["node"])) is case["expected"]


@cases("combined_filter_option")
def test_the_combined_option_is_split_at_blanks(case: Any) -> None:
    """Words with a fact before an operator are facts, all others classes."""
    data = parse(with_=[case["input"]["argument"]]).to_data()
    assert {"fact": data["facts"], "cf_class": data["classes"]} == case["expected"]


@cases("compound_filter")
def test_select_expressions(case: Any) -> None:
    """A select expression matches the field's example node, or is refused by the caller."""
    if case["expected"] == {"error": "parse"}:
        with pytest.raises(UsageError, match="column"):
            parse(select=case["input"]["filter"])
        return
    node = Machine(**FILES["compound_filter"]["node_a"])
    assert hits(parse(select=case["input"]["filter"]), node) is case["expected"]


# -- reading


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a or b and not c", AnyOf((ClassTest("a"), AllOf((ClassTest("b"), Not(ClassTest("c"))))))),
        ("(a or b) and !c", AllOf((AnyOf((ClassTest("a"), ClassTest("b"))), Not(ClassTest("c"))))),
        ("a and b and c", AllOf((ClassTest("a"), ClassTest("b"), ClassTest("c")))),
        ("a and (b and c)", AllOf((ClassTest("a"), AllOf((ClassTest("b"), ClassTest("c")))))),
        ("not(a)or(b)", AnyOf((Not(ClassTest("a")), ClassTest("b")))),
        ("notable and orange", AllOf((ClassTest("notable"), ClassTest("orange")))),
        ("/^role::(web|db)$/", ClassTest("/^role::(web|db)$/")),
        ("os = 'Red Hat'", FactTest("os", "==", "Red Hat")),
        ('os="it\'s ""so"""', FactTest("os", "==", 'it\'s "so"')),
        ("os=''", FactTest("os", "==", "")),
        ("os=/Red Hat/", FactTest("os", "=~", "/Red Hat/")),
        ("os='/Red Hat/'", FactTest("os", "=~", "/Red Hat/")),
        ("os!=/Red/", FactTest("os", "!=", "/Red/")),
        ("mount==/var/", FactTest("mount", "==", "/var/")),
        ("(p=/^/usr/bin/)", FactTest("p", "=~", "/^/usr/bin/")),
        ("p=/a(b|c)/ and d", AllOf((FactTest("p", "=~", "/a(b|c)/"), ClassTest("d")))),
        ("x=-1", FactTest("x", "==", "-1")),
        ("not=5 or 'and'", AnyOf((FactTest("not", "==", "5"), ClassTest("and")))),
        ("puppet().enabled=true", DataTest("puppet", "", "enabled", "==", "true")),
        ('fstat("/a b").md5=/^5/', DataTest("fstat", "/a b", "md5", "=~", "/^5/")),
        ("fstat( '/x' ).size => 3", DataTest("fstat", "/x", "size", ">=", "3")),
        ("fstat(/etc/hosts).size<3", DataTest("fstat", "/etc/hosts", "size", "<", "3")),
    ],
)
def test_select_is_read_as_a_tree(text: str, tree: Any) -> None:
    """Precedence, parentheses, quotes, expressions and data functions are read as documented."""
    assert parse(select=text).select == tree
    assert parse(select=select_text(tree)).select == tree


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"select": "environment="}, "-S 'environment=': column 13: missing value after '='"),
        ({"select": ""}, "-S '': column 1: missing fact, class or data function"),
        ({"select": "a and"}, "-S 'a and': column 6: missing fact, class or data function"),
        ({"select": "(a) b"}, "-S '(a) b': column 5: expected 'and' or 'or'"),
        ({"select": "(a or b"}, "-S '(a or b': column 8: missing ')' for the '(' in column 1"),
        ({"select": "a)"}, "-S 'a)': column 2: expected 'and' or 'or'"),
        ({"select": "a AND b"}, "-S 'a AND b': column 3: expected 'and' or 'or'"),
        ({"select": "=b"}, "-S '=b': column 1: missing name before the operator"),
        ({"select": "a= or b"}, "-S 'a= or b': column 3: missing value after '='"),
        ({"select": "a='b"}, "column 3: quote not closed"),
        ({"select": "a=/b"}, "-S 'a=/b': column 3: regular expression not closed"),
        ({"select": "a=/(/"}, "-S 'a=/(/': column 1: invalid regular expression '(': "),
        ({"select": "fstat('/x')=1"}, "column 12: missing field (use fstat('…').field=value)"),
        ({"select": "fstat('/x').md5"}, "column 16: missing operator after fstat(…).md5"),
        ({"select": "fstat('/x'.md5=1"}, "column 11: missing ')' for the '(' in column 6"),
        ({"select": "!" * 60 + "a"}, "nested more than 50 levels deep"),
        ({"select": " or ".join("a" * 600)}, "filter: 600 tests, at most 500 are allowed"),
        ({"with_fact": ["foo"]}, "-F 'foo': column 4: missing operator (use fact=value)"),
        ({"with_fact": ["foo="]}, "-F 'foo=': column 5: missing value after '='"),
        ({"with_fact": ["=foo"]}, "-F '=foo': column 1: missing fact name"),
        ({"with_fact": ["a b=c"]}, "-F 'a b=c': column 1: invalid fact name 'a b'"),
        ({"with_fact": ["a='b"]}, "column 3: quote not closed"),
        ({"with_fact": ["a=~("]}, "-F 'a=~(': column 1: invalid regular expression '(': "),
        ({"with_class": ["/(/"]}, "-C '/(/': column 1: invalid regular expression '(': "),
        ({"with_class": [""]}, "-C '': column 1: empty name"),
        ({"with_agent": ["/a{9999}/"]}, "has more than 500 elements"),
        ({"with_": ["  "]}, "-W '  ': column 1: missing fact or class"),
        ({"with_": ["a b="]}, "-W 'b=': column 3: missing value after '='"),
        ({"with_identity": ["web*"]}, "-I 'web*': column 4: invalid character '*'"),
        ({"with_identity": ["/web"]}, "-I '/web': column 1: invalid character '/'"),
    ],
)
def test_bad_input_is_one_line_with_the_column(options: Any, said: str) -> None:
    """What cannot be read is quoted in one line that points at the column."""
    with pytest.raises(UsageError) as caught:
        parse(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_become_one_filter() -> None:
    """All options together make one filter; identities are unfolded, each once."""
    asked = parse(
        with_fact=["os.family = Debian", "load='5 %'"],
        with_class=["apache"],
        with_agent=["/^pack/"],
        with_identity=["web[01-02].my.net", "/db/", "web02.my.net"],
        with_=["php country!=uk"],
        select="a or b",
    )
    assert asked.to_data() == {
        "facts": [
            {"fact": "os.family", "operator": "==", "value": "Debian"},
            {"fact": "load", "operator": "==", "value": "5 %"},
            {"fact": "country", "operator": "!=", "value": "uk"},
        ],
        "classes": ["apache", "php"],
        "agents": ["/^pack/"],
        "identities": ["web01.my.net", "web02.my.net", "/db/"],
        "select": {"or": [{"class": "a"}, {"class": "b"}]},
    }


def test_no_options_mean_every_node() -> None:
    """A filter without conditions is empty, and matches whatever it meets."""
    assert parse().empty
    assert hits(parse(), Machine())
    assert parse().to_data() == {"facts": [], "classes": [], "agents": [], "identities": [], "select": None}
    assert not parse(with_class=["a"]).empty


# -- matching


@pytest.mark.parametrize(
    ("value", "operator", "wanted", "expected"),
    [
        (4, "==", "4", True),
        (4.0, "==", "4", True),
        (4, "!=", "4.0", False),
        (16.5, ">", "9", True),
        (True, "==", "true", True),
        (True, "!=", "1", True),
        (False, "=~", "^fal", True),
        ("1.10", "==", "1.1", False),
        ("9007199254740993", ">", "9007199254740992", True),
        ("10 GB", ">", "9", False),
        ("b", "!=", "/b/", False),
        ("b", "!=", "/c/", True),
        ("/var/", "==", "/var/", True),
        ("FOO", "=~", "(?i)foo", True),
        ([1, None, ["x"]], "!=", "1", False),
        ([], "!=", "1", False),
        ({}, "!=", "1", False),
        (float("nan"), ">", "1", True),
        pytest.param(10**5000, ">", "1", True, id="long-number"),
        pytest.param(10**5000, "=~", "^10", True, id="long-number-text"),
    ],
)
def test_values_that_json_and_yaml_hold(value: Any, operator: str, wanted: str, expected: bool) -> None:
    """Numbers compare as numbers, booleans by their JSON text, elements one by one, oddities without an error."""
    assert of_fact(value, operator, wanted) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("os.family=Debian", True),
        ("os.name.0=deb", True),
        ("os.name.1.x=7", True),
        ("os.name.2=deb", False),
        ("os.name.x=deb", False),
        ("os.family.x=Debian", False),
        ("os=family", True),
        ("a.b=top", True),
        ("a.b=nested", False),
        ("none!=1", False),
        ("nosuch.path!=1", False),
    ],
)
def test_paths_reach_nested_facts(expression: str, expected: bool) -> None:
    """Dots step into mappings and lists; a top-level name with dots wins; null and missing match nothing."""
    facts = {
        "os": {"family": "Debian", "name": ["deb", {"x": 7}]},
        "a": {"b": "nested"},
        "a.b": "top",
        "none": None,
    }
    assert hits(parse(with_fact=[expression]), Machine(facts=facts)) is expected


def test_data_functions_are_asked_once_and_last() -> None:
    """A question is asked once, in order, and not at all when a cheaper test has failed."""
    asked_for = []

    def answer(function: str, query: str) -> Mapping[str, Any]:
        asked_for.append((function, query))
        return {"size": 5}

    wanted = parse(select="apache or f('x').size=5 and (f('x').size>4 or g().size=1)", with_class=["web"])
    assert uses_data(wanted) == [("f", "x"), ("g", "")]
    assert not matches(wanted, Machine(), answer)
    assert asked_for == []
    assert matches(wanted, Machine(classes=["web"]), answer)
    assert asked_for == [("f", "x"), ("g", "")]


@pytest.mark.parametrize("expression", ["a or g().x=1", "not g().x=1", "a or f().nosuch=1", "not f().nosuch=1"])
def test_an_unknown_function_or_field_makes_all_false(expression: str) -> None:
    """A node without the function or its field never matches, whatever the other branches say."""
    node = Machine(classes=["a"], data={"f": {"": {"x": 1}}})
    assert hits(parse(select="a or f().x=2"), node)
    assert not hits(parse(select=expression), node)


def test_leaves_are_all_tests_of_a_tree() -> None:
    """The single tests of a select tree come from left to right."""
    tests = list(leaves(parse(select="a and not (b=1 or f().x=2)")))
    assert tests == [ClassTest("a"), FactTest("b", "==", "1"), DataTest("f", "", "x", "==", "2")]


# -- limits


def test_an_expression_that_backtracks_does_not_hold_a_node(caplog: pytest.LogCaptureFixture) -> None:
    """Expressions share one time limit; when it is spent the filter is false, and one warning says so."""
    node = Machine(facts={"a": ["a" * 40 + "!"] * 50}, classes=["there"])
    budget = Budget(0.05)
    start = time.thread_time()
    with caplog.at_level(logging.WARNING):
        assert not matches(parse(select=f"there and not a={EVIL}"), node, node.ask, budget)
    assert time.thread_time() - start < 1
    assert budget.spent
    assert [record.message for record in caplog.records] == ["filter.timeout"]
    assert caplog.records[0].__dict__["seconds"] == 0.05


def test_a_spent_budget_answers_at_once() -> None:
    """Nodes that share a budget with one that spent it match nothing that needs an expression."""
    asked, budget = parse(with_fact=["a=/a$/"]), Budget(0.01)
    node = Machine(facts={"a": "a"})
    assert matches(asked, node, node.ask, budget)
    worse = Machine(facts={"a": "a" * 40 + "!"})
    assert not matches(parse(with_fact=[f"a={EVIL}"]), worse, worse.ask, budget)
    assert not matches(asked, node, node.ask, budget)
    assert not matches(asked, node, node.ask, Budget(-0.001))  # the last search may have overdrawn it


def test_the_time_limit_holds_without_being_asked_for() -> None:
    """The classic pattern against thirty letters is answered at once, and so is a worse one."""
    start = time.thread_time()
    assert not hits(parse(with_fact=["a=/(a+)+$/"]), Machine(facts={"a": "a" * 30 + "!"}))
    assert not hits(parse(with_fact=[f"a={EVIL}"]), Machine(facts={"a": "a" * 40 + "!"}))
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    "expression",
    [
        "a{1000000000}",
        "((a{1000}){1000}){1000}",
        "(?:" * 30 + "a" + "){2}" * 30,
        "(){1000000000}",
        "(?R)",
        "(?:foo){e<=1}",
        "(?x)a # b",
        "a(?#b)c",
        "(" * 200 + ")" * 200,
        "a" * 501,
        "[",
        "*",
        "\\p{L}",
    ],
)
def test_expressions_that_cost_too_much_are_refused(expression: str) -> None:
    """What a time limit does not bound, and what is not Python's, is refused on both sides."""
    with pytest.raises(UsageError):
        parse(with_class=[f"/{expression}/"])
    with pytest.raises(MessageError):
        Filter.from_data({"classes": [f"/{expression}/"]})


@pytest.mark.parametrize(
    "expression",
    [
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        r"^(\d{1,3}\.){3}\d{1,3}$",
        r"^(?!db)[a-z]{,5}",
        r"a\{b",
        r"[{}()]x",
        r"(?P<x>a)(?P=x)",
        r"[[]a",
    ],
)
def test_expressions_that_people_write_are_taken(expression: str) -> None:
    """Repetitions of ordinary size, look-ahead, back-references and classes are fine."""
    assert parse(with_class=[f"/{expression}/"]).classes == (f"/{expression}/",)


def test_ten_thousand_nodes_are_filtered_in_a_moment() -> None:
    """Filtering 10,000 nodes with 50 facts each takes well under a second."""
    facts = [{f"fact{n}": f"value{n}" for n in range(48)} | {"n": n, "os": {"f": "Debian"}} for n in range(10_000)]
    fleet = [Machine(identity=f"n{n}", facts=known, classes=["web"]) for n, known in enumerate(facts)]
    asked = parse(["os.f=Debian", "n>=5000", "fact7=/7$/"], ["web"], select="fact1=value1 and not db")
    budget = Budget(10)
    start = time.thread_time()
    found = [node for node in fleet if matches(asked, node, node.ask, budget)]
    assert time.thread_time() - start < 1
    assert len(found) == 5000


def test_filters_without_expressions_do_not_load_the_engine() -> None:
    """Importing filters and using literal ones leaves the expression engine out."""
    program = (
        "import sys; from collective.filters import parse; parse(['a=b'], ['c'], select='d or e<1'); "
        "sys.exit('regex' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -- the wire


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {"facts": None},
        {"facts": [1]},
        {"facts": [{"fact": "a", "operator": "==", "value": 1}]},
        {"facts": [{"fact": "a", "operator": "eq", "value": "1"}]},
        {"facts": [{"fact": "a", "operator": "==", "value": "1", "x": 1}]},
        {"facts": [{"fact": "a=b", "operator": "==", "value": "1"}]},
        {"facts": [{"fact": "a", "operator": "=~", "value": "("}]},
        {"facts": [{"fact": "a", "operator": "!=", "value": "/(/"}]},
        {"classes": "web"},
        {"classes": [""]},
        {"classes": [1]},
        {"agents": ["/[/"]},
        {"identities": ["web[1-2]"]},
        {"identities": ["a b"]},
        {"compound": []},
        {"select": []},
        {"select": {}},
        {"select": {"xor": []}},
        {"select": {"and": []}},
        {"select": {"and": [{"class": "a"}]}},
        {"select": {"and": [{"class": "a"}, {"class": "b"}], "or": []}},
        {"select": {"not": None}},
        {"select": {"class": "a", "not": {"class": "b"}}},
        {"select": {"function": "f", "query": "", "field": "", "operator": "==", "value": "1"}},
        {"select": {"function": "f", "query": None, "field": "x", "operator": "==", "value": "1"}},
        {"classes": ["a"] * 501},
    ],
)
def test_malformed_data_is_refused(data: Any) -> None:
    """A kind, key, type or expression that is not known is a MessageError."""
    with pytest.raises(MessageError, match=r"^filter: "):
        Filter.from_data(data)


def test_deep_data_is_refused() -> None:
    """A tree deeper than the bound is refused, not followed."""
    tree: Any = {"class": "a"}
    for _ in range(5000):
        tree = {"not": tree}
    with pytest.raises(MessageError, match="50 levels deep"):
        Filter.from_data({"select": tree})


# -- for people


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "every node"),
        ({"with_class": ["apache"]}, "nodes where class apache is there"),
        ({"with_fact": ["os!=/Red/"]}, "nodes where fact os is there and does not match /Red/"),
        (
            {"with_identity": ["web[01-03].my.net", "/db/"], "with_fact": ["cpus>=4"]},
            """nodes where all of this holds:
  fact cpus is at least '4'
  the identity is among web[01-03].my.net or the identity matches /db/""",
        ),
        (
            {"select": "fstat('/etc/hosts').md5=/^54f/ and not (/web/ or env=prod)"},
            """nodes where all of this holds:
  md5 of fstat('/etc/hosts') matches /^54f/ and it is not so that (a class matches /web/ or fact env is 'prod')
  the node itself is asked: fstat('/etc/hosts')""",
        ),
    ],
)
def test_a_filter_is_explained_in_english(options: Any, said: str) -> None:
    """People read what a filter means, data functions included."""
    assert explain(parse(**options)) == said


def test_a_printed_filter_is_short() -> None:
    """Options come back as people write them: folded identities, quotes only where they are needed."""
    asked = parse(
        ["a=b", "c=/d e/", "x== /var/", "y='~z'"], ["-web"], [], ["web[1-3]"], [], "! (a or b='c d') and f().x=1"
    )
    assert to_options(asked) == [
        *("-F", "a=b", "-F", "c=/d e/", "-F", "x==/var/", "-F", "y='~z'", "-C-web", "-I", "web[1-3]"),
        *("-S", "not (a or b='c d') and f().x=1"),
    ]


# -- properties

TEXTS = st.one_of(
    st.text("ab '\"/\\()=<>!~.-\n1", max_size=8),
    st.sampled_from(["and", "or", "not", "/a b/", "/(a|b)/", "/a/)x/", "//", "/", "-1", "é"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OPERATOR = st.sampled_from(["==", "!=", "=~", "<", "<=", ">", ">="])
COMPARED = {"operator": OPERATOR, "value": TEXTS}
FACT = st.fixed_dictionaries({"fact": TEXTS, **COMPARED})
NAME = st.sampled_from(["f", "fstat", "x_1"])
LEAF = st.one_of(
    FACT,
    st.fixed_dictionaries({"class": TEXTS}),
    st.fixed_dictionaries({"function": NAME, "query": TEXTS, "field": NAME, **COMPARED}),
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, min_size=2, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=2, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


def valid(key: str) -> Callable[[Any], bool]:
    """Return the test whether a filter may have this under `key`."""

    def check(value: Any) -> bool:
        try:
            Filter.from_data({key: value})
        except MessageError:
            return False
        return True

    return check


FILTERS = st.builds(
    lambda **parts: Filter.from_data(parts),
    facts=st.lists(FACT.filter(lambda entry: valid("facts")([entry])), max_size=2),
    classes=st.lists(TEXTS.filter(lambda name: valid("classes")([name])), max_size=2),
    agents=st.lists(TEXTS.filter(lambda name: valid("agents")([name])), max_size=2),
    identities=st.lists(st.sampled_from(["web1", "web2", "web01", "db.x", "/we b/", "-x"]), max_size=3),
    select=st.none() | TREE.filter(valid("select")),
)


def read_again(words: list[str]) -> Filter:
    """Read printed options the way a command line does."""
    line = argparse.ArgumentParser(allow_abbrev=False)
    for flag, name in (
        ("-F", "with_fact"),
        ("-C", "with_class"),
        ("-A", "with_agent"),
        ("-I", "with_identity"),
    ):
        line.add_argument(flag, dest=name, action="append", default=[])
    line.add_argument("-S", dest="select")
    return parse(**vars(line.parse_args(words)))


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_a_printed_filter_is_read_as_the_same_again(asked: Filter) -> None:
    """Printed as options and parsed again, a filter is the same."""
    assert read_again(to_options(asked)) == asked
    assert asked.select is None or parse(select=select_text(asked.select)).select == asked.select
    assert explain(asked)


@settings(max_examples=100, deadline=None)
@given(FILTERS)
def test_what_travels_is_read_as_the_same_again(asked: Filter) -> None:
    """Written as JSON and read again, a filter is the same."""
    assert Filter.from_data(json.loads(json.dumps(asked.to_data()))) == asked


@settings(max_examples=150, deadline=None)
@given(FILTERS, st.dictionaries(TEXTS, JSON, max_size=4), st.none() | st.dictionaries(NAME, JSON))
def test_evaluation_never_raises(asked: Filter, facts: Any, answer: Any) -> None:
    """Whatever a node's facts and data are, the answer is yes or no."""
    node = Machine(facts=facts | {test.fact: value for test, value in zip(asked.facts, facts.values(), strict=False)})
    assert matches(asked, node, lambda _function, _query: answer, Budget(0.1)) in (True, False)


@settings(max_examples=200, deadline=None)
@given(JSON | st.fixed_dictionaries({}, optional={"facts": JSON, "classes": JSON, "select": JSON | TREE}))
def test_any_data_is_a_filter_or_a_message_error(data: Any) -> None:
    """Data from the network is read, or refused as such: nothing else is raised."""
    try:
        read = Filter.from_data(data)
    except MessageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ways are fine
        return
    assert isinstance(read, Filter)

"""Filters are parsed from options and from messages, and are printed again."""

from __future__ import annotations

from typing import Any

import pytest
from support.machine import Machine, hits

from collective.errors import MessageError, UsageError
from collective.filters import (
    AllOf,
    AnyOf,
    ClassTest,
    DataTest,
    FactTest,
    Filter,
    Not,
    explain,
    parse,
    select_text,
    to_options,
)


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
def test_select_is_parsed_as_a_tree(text: str, tree: Any) -> None:
    """Precedence, parentheses, quotes, expressions and data functions are parsed as documented."""
    assert parse(select=text).select == tree
    assert parse(select=select_text(tree)).select == tree


@pytest.mark.parametrize(
    ("options", "message"),
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
        ({"select": "a=/(/"}, "-S 'a=/(/': column 3: invalid regular expression '(': "),
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
        ({"with_fact": ["a=~("]}, "-F 'a=~(': column 4: invalid regular expression '(': "),
        ({"with_class": ["/(/"]}, "-C '/(/': column 1: invalid regular expression '(': "),
        ({"with_class": [""]}, "-C '': column 1: empty name"),
        ({"with_agent": ["/a{9999}/"]}, "has more than 500 elements"),
        ({"with_": ["  "]}, "-W '  ': column 1: missing fact or class"),
        ({"with_": ["a b="]}, "-W 'b=': column 3: missing value after '='"),
        ({"with_identity": ["web*"]}, "-I 'web*': column 4: invalid character '*'"),
        ({"with_identity": ["/web"]}, "-I '/web': column 1: invalid character '/'"),
        ({"with_identity": ["/web/i"]}, "-I '/web/i': column 1: invalid character '/'"),
        ({"with_identity": ["~web"]}, "-I '~web': column 1: invalid character '~'"),
        ({"with_fact": ["role!=/web/i"]}, "-F 'role!=/web/i': column 7: '/web/i' is not a regular expression: write"),
        ({"with_fact": ["role=/web/i"]}, "-F 'role=/web/i': column 6: '/web/i' is not a regular expression: write"),
        ({"with_fact": ["role!=/web"]}, "column 7: '/web' is not a regular expression: write one as /…/ without flags"),
        ({"with_fact": ["role != ~web"]}, "column 9: '~web' is not a regular expression"),
        ({"with_fact": ["role!=^web"]}, "column 7: '^web' is not a regular expression"),
        ({"with_fact": ["role!=web$"]}, "or quote it as text: 'web$'"),
        ({"with_fact": ["role!=web.*"]}, "column 7: 'web.*' is not a regular expression"),
        ({"with_fact": ["role=~/web/i"]}, "column 7: invalid regular expression '/web/i': use /…/ without flags"),
        ({"with_fact": ["role~=web"]}, "column 1: unknown operator '~=' (use =~, or !=/regex/)"),
        ({"with_fact": ["role!~web"]}, "missing operator (use fact=value)"),
        ({"with_fact": ["cpus>/4/"]}, "'>' cannot compare with the regular expression /4/"),
        ({"with_fact": ["memory<8gb"]}, "column 8: unknown unit in '8gb' (did you mean 'GB'? quote a version: '8gb')"),
        ({"with_fact": ["memory<512m"]}, "column 8: unknown unit in '512m' (did you mean 'M'?"),
        ({"with_fact": ["a" * 1001 + "=b"]}, "fact name has 1001 characters, at most 1000 are allowed"),
        ({"with_": ["web role!=/web/i"]}, "-W 'role!=/web/i': column 7: '/web/i' is not a regular expression"),
        ({"with_": ["role!~web"]}, "-W 'role!~web': column 1: 'role!~web' is neither a name nor a regular expression"),
        ({"with_": ["/web/i"]}, "-W '/web/i': column 1: '/web/i' is neither a name nor a regular expression"),
        ({"with_class": ["/APACHE/i"]}, "-C '/APACHE/i': column 1: '/APACHE/i' is neither a name nor a regular"),
        ({"with_class": ["^apache"]}, "-C '^apache': column 1: '^apache' is neither a name nor a regular expression"),
        ({"with_agent": ["/web"]}, "-A '/web': column 1: '/web' is neither a name nor a regular expression"),
        ({"select": "role!=/web/i"}, "-S 'role!=/web/i': column 7: regular expression not closed"),
        ({"select": "role!=~web"}, "-S 'role!=~web': column 7: '~web' is not a regular expression"),
        ({"select": "not '/web'"}, "-S \"not '/web'\": column 5: '/web' is neither a name nor a regular expression"),
        ({"with_fact": ["role!=web*"]}, "column 7: 'web*' is not a regular expression: write one as /…/ without flags"),
        ({"with_fact": ["role!=web?"]}, "column 7: 'web?' is not a regular expression"),
        ({"with_fact": ["role!=web|db"]}, "column 7: 'web|db' is not a regular expression"),
        ({"with_fact": ["role!=[wd]eb"]}, "column 7: '[wd]eb' is not a regular expression"),
        ({"with_fact": ["role!=(?i)web"]}, "column 7: '(?i)web' is not a regular expression"),
        ({"with_fact": [r"role!=web\d+"]}, "is not a regular expression"),
        (
            {"with_fact": ["role!==web"]},
            "column 7: '=web' begins with an operator (operators: == != =~ < <= > >=; text:",
        ),
        ({"with_fact": ["role===web"]}, "column 7: '=web' begins with an operator"),
        ({"with_fact": ["role<>web"]}, "column 6: '>web' begins with an operator"),
        ({"with_fact": ["role=!web"]}, "column 6: '!web' begins with an operator"),
        ({"with_class": ["apa*"]}, "-C 'apa*': column 1: 'apa*' is neither a name nor a regular expression"),
        ({"with_class": ["apache,php"]}, "'apache,php' is a list: give each name its own option or test"),
        ({"with_agent": ["rpc?"]}, "-A 'rpc?': column 1: 'rpc?' is neither a name nor a regular expression"),
        ({"select": "not apache*"}, "-S 'not apache*': column 5: 'apache*' is neither a name nor a regular expression"),
        ({"select": "not apache,php"}, "-S 'not apache,php': column 5: 'apache,php' is a list"),
        ({"select": "role<>web"}, "-S 'role<>web': column 6: '>web' begins with an operator"),
        ({"select": "f('x').y!=^a"}, "column 11: '^a' is not a regular expression"),
    ],
)
def test_invalid_input_is_one_line_with_the_column(options: Any, message: str) -> None:
    """The error quotes the input in one line and names the column."""
    with pytest.raises(UsageError) as caught:
        parse(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["mount='/var'", 'mount="~/x"', "memory<'8gb'", "url=http://a/b", "a=b/c"])
def test_a_quoted_value_is_text(text: str) -> None:
    """Quotes mark a value that resembles a regular expression or a unit as intended; other text needs none."""
    (test,) = parse(with_fact=[text]).facts
    assert test.value == text.partition("=")[2].strip("'\"") or test.value == "8gb"
    assert parse(with_fact=[to_options(Filter(facts=(test,)))[1]]).facts == (test,)
    assert parse(select=text).select == test


def test_options_become_one_filter() -> None:
    """All options together make one filter; identities are unfolded without duplicates."""
    filter_ = parse(
        with_fact=["os.family = Debian", "load='5 %'"],
        with_class=["apache"],
        with_agent=["/^pack/"],
        with_identity=["web[01-02].my.net", "/db/", "web02.my.net"],
        with_=["php country!=uk"],
        select="a or b",
    )
    assert filter_.to_data() == {
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


def test_no_options_match_every_node() -> None:
    """A filter without tests is empty and matches every node."""
    assert parse().empty
    assert hits(parse(), Machine())
    assert parse().to_data() == {"facts": [], "classes": [], "agents": [], "identities": [], "select": None}
    assert not parse(with_class=["a"]).empty


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
    """An unknown kind, key or type and an invalid expression are a MessageError."""
    with pytest.raises(MessageError, match=r"^filter: "):
        Filter.from_data(data)


def test_deep_data_is_refused() -> None:
    """A tree deeper than the limit is refused."""
    tree: Any = {"class": "a"}
    for _ in range(5000):
        tree = {"not": tree}
    with pytest.raises(MessageError, match="50 levels deep"):
        Filter.from_data({"select": tree})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "every node"),
        ({"with_class": ["apache"]}, "nodes where class apache is present"),
        ({"with_fact": ["os!=/Red/"]}, "nodes where fact os is present and does not match /Red/"),
        (
            {"with_identity": ["web[01-03].my.net", "/db/"], "with_fact": ["cpus>=4"]},
            """nodes where all of these conditions hold:
  fact cpus is at least '4'
  identity is one of web[01-03].my.net or identity matches /db/""",
        ),
        (
            {"select": "fstat('/etc/hosts').md5=/^54f/ and not (/web/ or env=prod)"},
            """nodes where all of these conditions hold:
  fstat('/etc/hosts').md5 matches /^54f/ and not (a class matches /web/ or fact env is 'prod')
  evaluated on each node: fstat('/etc/hosts')""",
        ),
    ],
)
def test_a_filter_is_explained_in_english(options: Any, message: str) -> None:
    """A filter is described in English, data functions included."""
    assert explain(parse(**options)) == message


def test_a_printed_filter_is_short() -> None:
    """Identities are folded, and only values that need quotes are quoted."""
    filter_ = parse(
        ["a=b", "c=/d e/", "x== /var/", "y='~z'"], ["-web"], [], ["web[1-3]"], [], "! (a or b='c d') and f().x=1"
    )
    assert to_options(filter_) == [
        *("-F", "a=b", "-F", "c=/d e/", "-F", "x==/var/", "-F", "y='~z'", "-C-web", "-I", "web[1-3]"),
        *("-S", "not (a or b='c d') and f().x=1"),
    ]

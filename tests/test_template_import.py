"""Convert template resources of confd: what the converted files render, and what is listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.json_documents import check_document, check_schema

from collective.clients.commands import template
from collective.confd_import import read
from collective.confd_import.go_template import converted
from collective.errors import ConfigError, UsageError
from collective.membership import Member, Membership
from collective.membership.serf_convention import Self
from collective.template_settings import read_template
from collective.templates.rendering import render
from collective.templates.values import template_values
from collective.yaml_file import parse_yaml

MEMBERS = [
    Member(name, "alive", (address,), {"role": "web", "port": port})
    for name, address, port in (("web1", "10.0.0.1", 80), ("web2", "10.0.0.2", 81))
]
VALUES = template_values(Membership("test", 1.0, {one.identity: one for one in MEMBERS}), Self("lb"))
RESOURCE = """[template]
src = "haproxy.cfg.tmpl"
dest = "/etc/haproxy/haproxy.cfg"
keys = ["/services/web"]
mode = "0640"
uid = 0
gid = 105
check_cmd = "/usr/sbin/haproxy -c -f {{.src}}"
reload_cmd = "/usr/sbin/service haproxy reload"
"""
# After confd's documentation, "Templates", with the usual forms of loops and conditions.
TEMPLATE = """# {{getv "/members/web1/role"}} {# not a comment
backend web
{{range gets "/services/web/*"}}    server {{base .Key}} {{.Value}}:80 check
{{end}}{{range $i, $address := getvs "/services/web/*"}}{{$i}}={{$address}};{{end}}
{{- if exists "/services/web/web1"}}
one{{else if exists "/x"}}two{{else}}three{{end}}
{{/* a comment */ -}}
{{$name := getv "/none" "unknown" | toUpper}}{{$name}} {{if and (eq "a" "a") (not (exists "/y"))}}yes{{end}}
{{range getvs "/none/*"}}{{.}}{{else}}empty{{end}}{{with getv "/services/web/web2"}} {{.}}{{end}}
{{printf "%s-%d" "a" 1}}
"""
RENDERED = """# web {# not a comment
backend web
    server web1 10.0.0.1:80 check
    server web2 10.0.0.2:80 check
0=10.0.0.1;1=10.0.0.2;
one
UNKNOWN yes
empty 10.0.0.2
a-1
"""


@pytest.fixture
def resource(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "conf.d" / "haproxy.toml").write_text(RESOURCE)
    (tmp_path / "templates" / "haproxy.cfg.tmpl").write_text(TEMPLATE)
    return tmp_path / "conf.d" / "haproxy.toml"


def test_a_converted_template_renders_as_confd_does(resource: Path) -> None:
    """Line ends and the signs that remove them have the same effect; keys are replaced."""
    found = read(resource, None, {"/services/web": "/roles/web"})
    assert render(found.template, Path("t.j2"), VALUES) == RENDERED
    assert [line.partition(": ")[2] for line in found.lost] == [
        "members have no key '/x' (use --key, such as --key '/x=/roles/web')",
        "members have no key '/none' (use --key, such as --key '/none=/roles/web')",
        "members have no key '/y' (use --key, such as --key '/y=/roles/web')",
        "members have no key '/none/*' (use --key, such as --key '/none/*=/roles/web')",
    ]


def test_a_converted_resource_is_a_valid_file(resource: Path) -> None:
    """Paths, mode, owner and commands are those of the resource, with the path of the candidate."""
    document = parse_yaml(read(resource, None, {}).settings, "haproxy.yaml")
    check_schema("template", document)
    settings = read_template(document["template"], "template", Path("/etc/x"))
    assert (settings.src, settings.dest) == (Path("/etc/x/haproxy.j2"), Path("/etc/haproxy/haproxy.cfg"))
    assert (settings.mode, settings.owner) == (0o640, "0:105")
    assert settings.check == "/usr/sbin/haproxy -c -f {candidate}"
    assert settings.reload == "/usr/sbin/service haproxy reload"


@pytest.mark.parametrize(
    ("go", "problem"),
    [
        ('{{lookupSRV "a"}}', "the function 'lookupSRV' has no counterpart"),
        ("{{.}}", "'.' outside of range and with has no counterpart"),
        ("{{$}}", "'$' has no counterpart"),
        ('{{getv "/members/a/role" "b" "c"}}', "a call with 3 arguments has no counterpart"),
        ('{{printf "%5.2f" 1}}', 'printf: the format "%5.2f" has no counterpart'),
        ('{{"a" | "b"}}', "'b' is not a function"),
        ('{{template "x"}}', "'template' has no counterpart"),
        ("{{end}}", "it has no beginning"),
        ("{{(len 1}}", "parentheses or parts of a pipeline are missing"),
        ("{{a ~ b}}", "'~ b' is not understood"),
        ("{{$x = 1}}", "the assignment to a variable of an outer block has no counterpart"),
        ("{{range}}", "an expression is missing"),
    ],
)
def test_what_cannot_be_converted_is_listed_and_fails(go: str, problem: str) -> None:
    """The line names the action; the converted template cannot be rendered by accident."""
    found = converted(f"line\n{go}", "t.tmpl", {})
    assert found.lost[0] == f"t.tmpl:2: {go}: {problem}"
    assert "fail(" in found.text


def test_folders_and_single_pairs_are_converted() -> None:
    """`ls` and `lsdir` give names, `get` a pair; a key without a slash at its start is one with it."""
    source = (
        '{{if ls "/roles/web"}}{{range lsdir "/roles"}}{{.}}: {{range getvs (printf "/roles/%s/*" .)}}{{.}};{{end}}\n'
        '{{end}}{{end}}{{with get "web/web1"}}{{base .Key}}={{.Value}}{{end}} {{range ls "/roles/web"}}{{.}} {{end}}'
        '{{len (lsdir "/roles/web")}} {{ls "/roles/web/web2" | len}} {{if ls "/roles/db"}}db{{else}}no db{{end}}'
    )
    found = converted(source, "t", {"/web": "/roles/web"})
    assert found.lost == ()
    assert render(found.text, Path("t.j2"), VALUES) == "web: 10.0.0.1;10.0.0.2;\nweb1=10.0.0.1 web1 web2 0 1 no db"


def test_a_block_that_cannot_be_converted_keeps_the_others(tmp_path: Path) -> None:
    """The else and the end of a lost block are listed; blocks around it still match."""
    source = '{{if true}}{{range json "/a"}}x{{.}}{{else}}y{{end}}{{end}}'
    found = converted(source, "t", {})
    assert [line.rpartition(": ")[2] for line in found.lost] == [
        "the function 'json' has no counterpart",
        "its block was not converted",
        "its block was not converted",
    ]
    assert found.text.count("endif") == 1


def test_the_command_writes_both_files(resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Existing files are kept without --replace; what was not converted is on standard error and in the document."""
    folder = resource.parent.parent / "out"
    words = ["import", str(resource), "--key", "/services/web=/roles/web", "--folder", str(folder)]
    assert template.run(words) == 0
    out, err = capsys.readouterr()
    assert out.split() == [f"{folder}/haproxy.yaml", f"{folder}/haproxy.j2"]
    assert err.count("crpc: not converted: ") == 4
    assert template.run([*words, "--replace", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert check_document(document) == "template-import"
    assert len(document["not_converted"]) == 4


@pytest.mark.parametrize(
    ("toml", "error"),
    [
        ("x = ", "Invalid value"),
        ("[other]\n", r"has no section \[template\]"),
        ('[template]\nsrc = "a"\n', "template.dest: required key is missing"),
    ],
)
def test_an_invalid_resource_is_refused(tmp_path: Path, toml: str, error: str) -> None:
    """The error names the file."""
    path = tmp_path / "a.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=f"{path}: .*{error}"):
        read(path, None, {})


def test_a_resource_is_not_rendered(resource: Path) -> None:
    """The error names the command that converts it."""
    with pytest.raises(UsageError, match=f"crpc template import {resource}"):
        template.run(["render", str(resource), "--once"])


def test_keys_of_a_resource_without_counterpart_are_listed(tmp_path: Path) -> None:
    """Each with its line."""
    path = tmp_path / "a.toml"
    path.write_text(
        '[template]\nsrc = "a.tmpl"\ndest = "/a"\nprefix = "/p"\ncheck_cmd = "nginx -t"\n'
        'new = 1\nreload_cmd = "x {{.dest}}"\n[backend]\nbackend = "vault"\n'
    )
    (tmp_path / "a.tmpl").write_text("x")
    assert [line.removeprefix(f"{path}:") for line in read(path, None, {}).lost] == [
        "4: prefix: the keys of members have none (use --key to replace keys)",
        "6: new: has no counterpart",
        "5: check_cmd: has no {{.src}}, so that it cannot check the new file (put it into reload)",
        "7: reload_cmd: {{.dest}} has no counterpart",
        "8: backend: has no counterpart",
    ]

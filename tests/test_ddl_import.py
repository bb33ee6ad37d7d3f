"""DDLs of MCollective and Choria are converted as far as they are data; what is omitted is listed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called
from support.json_documents import check_document

from collective import ddl
from collective.ddl_import.convert import ImportedDDL, read
from collective.errors import DDLError

RUBY = r"""
# A comment, and "a string" in it
metadata    :name        => "garage",
            :description => "Doors of the garage",   # at the end of a line
            :author      => "O'Neil",
            :version     => "1.2.3",
            :url         => "https://example.com/#door",
            :timeout     => 20

requires :mcollective => "2.2.1"

usage <<-EOU
Open "doors", and close them: action "x" do end
EOU

action "status", :description => "Status of a door" do
  display :always

  input :door,
        :prompt      => "Door",
        :description => "Which door",
        :type        => :string,
        :validation  => '\A[a-z]+\z',
        :optional    => false,
        :maxlength   => 2 * 45

  input :side, :prompt => "Side", :description => "Side", :type => :list, :list => ["left", "right"],
        :optional => true, :default => "left"
  input :lamp, :prompt => "Lamp", :description => "Lamp", :type => :boolean, :optional => false, :default => true
  input :speed, :prompt => "Speed", :description => "Speed", :type => :float, :optional => true
  input :address, :prompt => "Address", :description => "Address", :type => :string, :validation => :ipv4address,
        :optional => true, :maxlength => 15

  output :open, :description => "Whether it is open", :display_as => "Open", :type => :boolean, :default => false
  output :count, :description => "How often", :display_as => "Count", :type => :integer, :default => "unknown"

  if respond_to?(:summarize)
    summarize do
      aggregate summary(:open)
      aggregate boolean_summary(:open, {:true => "open", :false => "closed"})
      aggregate average(:count, :format => "Average: %0.2f")
      aggregate door_summary(:open)
    end
  end
end

%w[open close].each do |act|
  action act, :description => "#{act.capitalize} a door" do
    input :door, :prompt => "Door", :description => "Door to #{act}", :type => :string, :validation => :door_name,
          :optional => false, :maxlength => 90
    if act == 'open'
      input :width, :prompt => "Width", :description => "Width", :type => :integer, :optional => true
    end
    output :open, :description => "The door is #{act.sub(/p$/, 'pp')}ed", :display_as => "Open"
  end
end

puts "code that runs" if File.exist?("/etc/passwd")
"""
CHORIA: dict[str, Any] = {
    "$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json",
    "metadata": {"name": "garage", "description": "Doors of the garage", "author": "O'Neil", "license": "Apache-2.0",
                 "version": "1.2.3", "url": "https://example.com", "timeout": 20, "provider": "external"},
    "actions": [{
        "action": "status", "description": "Status of a door", "display": "always",
        "input": {"door": {"prompt": "Door", "description": "Which door", "type": "string", "optional": False,
                           "validation": "shellsafe", "maxlength": 90}},
        "output": {"open": {"description": "Open", "display_as": "Open", "type": "boolean", "default": None},
                   "state": {"description": "State", "display_as": "State"}},
        "aggregate": [{"function": "nagios_states", "args": ["state"]},
                      {"function": "boolean_summary", "args": ["open", {"true": "open", "false": "closed"}]}],
    }],
}  # fmt: skip
DATA = """
metadata :name => "Door_data", :description => "State of a door", :author => "x", :license => "x", :version => "1.0",
         :url => "x", :timeout => 1
dataquery :description => "State" do
  input :query, :prompt => "Door", :description => "The door", :type => :string, :validation => '^[a-z]+$',
        :maxlength => 20
  output :open, :description => "Open", :display_as => "Open", :default => false
end
"""


def imported(tmp_path: Path, content: Any, name: str = "garage.ddl") -> ImportedDDL:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read(path)


def test_a_ruby_ddl_is_converted(tmp_path: Path) -> None:
    """Metadata, inputs, outputs and aggregates are kept; loops over words make one action for each word."""
    found = imported(tmp_path, RUBY)
    garage = ddl.parse(found.document)
    assert (garage.metadata["version"], garage.metadata["timeout"], garage.metadata["author"]) == (
        "1.2.3",
        20,
        "O'Neil",
    )
    assert list(garage.actions) == ["status", "open", "close"]
    status = garage.action("status")
    assert status.inputs["door"] == {"title": "Door", "description": "Which door", "type": "string",
                                     "pattern": "^[a-z]+$", "maxLength": 90}  # fmt: skip
    assert (status.inputs["side"]["enum"], status.inputs["side"]["default"]) == (["left", "right"], "left")
    assert (status.inputs["speed"]["type"], status.inputs["address"]["format"]) == ("number", "ipv4")
    assert status.required == ("door",)
    assert status.outputs["open"] == {"title": "Open", "description": "Whether it is open", "type": "boolean",
                                      "default": False}  # fmt: skip
    assert [(one.function, one.output, dict(one.labels)) for one in status.aggregates] == [
        ("summary", "open", {}),
        ("summary", "open", {"true": "open", "false": "closed"}),
        ("average", "count", {}),
    ]
    assert garage.action("close").description == "Close a door"
    assert garage.action("close").inputs["door"]["description"] == "Door to close"
    assert ("width" in garage.action("open").inputs, "width" in garage.action("close").inputs) == (True, False)
    assert status.check_output({}) == {"open": False}


def test_what_is_not_data_is_listed(tmp_path: Path) -> None:
    """Each part that was omitted is one line, which names the action and what to do."""
    assert sorted(imported(tmp_path, RUBY).lost) == sorted(
        [
            "status: output 'count': 'default' 'unknown' cannot be used: 'unknown' is not of type 'integer'",
            "status: the format 'Average: %0.2f' of the aggregate of 'count'",
            "status: the aggregate 'door_summary' of 'open' (functions: average, max, min, sum, summary)",
            "open: input 'door': the validator 'door_name' is a plug-in (add a 'pattern')",
            "close: input 'door': the validator 'door_name' is a plug-in (add a 'pattern')",
            "line 54: the Ruby code 'act.sub(/p$/, 'pp')' in a string (it has 'open' instead)",
            "line 54: the Ruby code 'act.sub(/p$/, 'pp')' in a string (it has 'close' instead)",
            "line 58: 'puts' begins Ruby code, which was omitted",
        ]
    )


def test_a_ddl_of_choria_is_converted(tmp_path: Path) -> None:
    """Named validators and aggregates with labels are kept, and nothing is omitted."""
    found = imported(tmp_path, CHORIA, "garage.json")
    assert found.lost == ()
    status = ddl.parse(found.document).action("status")
    assert [status.accepts("door", text) for text in ("left", "a;b", "a|b", "$(id)", "a\nb", "a&&b")] == [
        True, False, False, False, False, False]  # fmt: skip
    assert [dict(one.labels)[key] for one, key in zip(status.aggregates, ("2", "true"), strict=True)] == [
        "CRITICAL", "open"]  # fmt: skip


def test_a_ddl_of_a_data_function_is_converted(tmp_path: Path) -> None:
    """MCollective's suffix `_data` is not part of the name; the query keeps its pattern."""
    found = imported(tmp_path, DATA, "door_data.ddl")
    assert (found.name, found.data, found.lost) == ("door", True, ())
    assert found.document["query"]["pattern"] == "^[a-z]+$"
    assert found.document["output"]["properties"]["open"]["default"] is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no 'metadata' found: not a DDL of MCollective"),
        ("hello world", "no 'metadata' found"),
        ("{", "cannot be read as JSON: Expecting property name"),
        ("{}", "not a DDL of Choria: 'metadata' and 'actions' are missing"),
        ('{"metadata": {"name": "x"}, "actions": {}}', "is a DDL in this format already"),
        ('{"metadata": {"name": "x"}, "actions": [1]}', "not a DDL of Choria or MCollective: TypeError"),
        ('{"metadata": {"name": "x"}, "actions": [{"action": "a"}]}', "not a DDL of Choria or MCollective: KeyError"),
        ('metadata :name => "x"\naction "a", :description => "b" do\n', "a block has no 'end'"),
        ('metadata :name => "x"\nend\n', "line 2: 'end' without a block"),
        ('metadata :name => "x"\n\x00', "line 2: cannot be read"),
        ('metadata :name => "x"\nusage <<EOU\nabc', "line 2: '<<EOU' has no end"),
        ('metadata :name => "x", :description => "d", :version => "1"\n', "has no action and no data query: only"),
        ('metadata :name => "X-1", :description => "d", :version => "1"\naction "a", :description => "b"\n',
         "$.metadata.name"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_ddl_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """The error names the file, and the line or the place."""
    with pytest.raises(DDLError) as caught:
        imported(tmp_path, content, "x.ddl")
    assert message in str(caught.value)
    assert str(tmp_path / "x.ddl") in str(caught.value)


def test_ruby_code_is_never_run(tmp_path: Path) -> None:
    """Backticks, system calls and interpolated code have no effect."""
    marker = tmp_path / "must-not-exist"
    code = f'metadata :name => "x", :description => "#{{`touch {marker}`}}", :version => "1"\nsystem "touch {marker}"\n'
    with pytest.raises(DDLError):
        imported(tmp_path, code, "x.ddl")
    assert not marker.exists()


def test_the_command_writes_the_ddl_where_callers_find_it(tmp_path: Path, capsys: Captured) -> None:
    """With --folder the file is written, and not replaced without --replace; without it the DDL is printed."""
    path = tmp_path / "garage.ddl"
    path.write_text(RUBY)
    code, out, err = called(["ddl", "import", str(path), "--folder", str(tmp_path / "ddl")], capsys)
    assert (code, out) == (0, f"{tmp_path / 'ddl' / 'garage.json'}\n")
    assert "crpc: not converted: close: input 'door': the validator 'door_name' is a plug-in" in err
    assert ddl.read(tmp_path / "ddl" / "garage.json").name == "garage"
    again = ["ddl", "import", str(path), "--folder", str(tmp_path / "ddl")]
    assert called(again, capsys)[0] == 64
    assert called([*again, "--replace"], capsys)[0] == 0
    code, out, _ = called(["ddl", "import", str(path)], capsys)
    assert json.loads(out)["metadata"]["name"] == "garage"
    code, out, _ = called(["ddl", "import", str(path), "-j"], capsys)
    assert check_document(json.loads(out)) == "ddl-import"


REAL = os.environ.get("FOREIGN_DDLS")  # a folder with DDLs of the public plug-ins, *.ddl and *.json


@pytest.mark.skipif(REAL is None, reason="FOREIGN_DDLS names no folder with DDLs of public plug-ins")
def test_the_ddls_of_public_plug_ins_are_converted() -> None:
    """Each one is converted, and one in both formats has the same actions, inputs and outputs from both."""
    paths = sorted(path for path in Path(str(REAL)).iterdir() if path.suffix in (".ddl", ".json"))
    assert paths
    for path in paths:
        found = read(path).document
        if path.suffix == ".ddl" and path.with_suffix(".json").exists():
            other = read(path.with_suffix(".json")).document
            assert found["actions"].keys() == other["actions"].keys(), path
            for name, action in found["actions"].items():
                for part in ("input", "output"):
                    fields = (one[part]["properties"].keys() for one in (action, other["actions"][name]))
                    assert next(fields) == next(fields), (path, name)

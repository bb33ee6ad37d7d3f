r"""Print what a command found in the form that the user asked for: text, json, jsonl, yaml, table or csv.

    output.show(args, Output(
        schema="find",                                      the document's schema: collective/schemas/find.json
        document={"collective": …, "nodes": names},         json, yaml
        columns=["node"], rows=[[name] for name in names],  jsonl (an object per row), table, csv
        text=lambda: "".join(f"{name}\n" for name in names),
    ))

A command that prints text while it works tests `args.output == "text"` itself. `paint(args)` colours its text.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from collective import schemas
from collective.clients.render.formatting import Paint, color_enabled, shallow, write_json, write_yaml
from collective.clients.streams import write


@dataclass(frozen=True)
class Output:
    """What a command found. `rows` have a value for each of `columns`; `text` returns the text form, escaped."""

    schema: str
    document: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    text: Callable[[], str]


def show(args: argparse.Namespace, output: Output) -> None:
    """Print `output` on standard output, in the form `args.output`."""
    stream = sys.stdout
    if args.output == "text":
        write(output.text(), stream)
    elif args.output == "json":
        write_json(_document(output), stream)
    elif args.output == "yaml":
        write_yaml(_document(output), stream)
    elif args.output == "jsonl":
        for row in output.rows:
            write(json.dumps(shallow(dict(zip(output.columns, row, strict=True)))) + "\n", stream)
    else:
        from collective.clients.render import table

        writer = table.write_rows if args.output == "table" else table.write_csv_rows
        writer(output.columns, output.rows, stream)


def paint(args: argparse.Namespace, stream: TextIO | None = None) -> Paint:
    """Return what colours text for `stream` (default: standard output), as options and environment ask."""
    return Paint(color_enabled(args.color, stream or sys.stdout, os.environ))


def _document(output: Output) -> dict[str, Any]:
    document: dict[str, Any] = shallow({"schema": schemas.schema_id(output.schema), **output.document})
    return document

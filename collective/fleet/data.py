"""Check the data functions of a filter before anything is sent: a misspelt field would match no node, silently."""

from __future__ import annotations

from collective.catalog import Catalog
from collective.errors import RPCError, UsageError
from collective.filters import DataTest, Filter, leaves


def check_data(asked: Filter, catalog: Catalog) -> None:
    """Check that DDLs know every data function and field in `asked`, and allow what they are asked.

    Raises UsageError, naming what there is, and DDLError for a DDL that is wrong.
    """
    for test in leaves(asked):
        if isinstance(test, DataTest):
            _check(test, catalog)


def _check(test: DataTest, catalog: Catalog) -> None:
    described = catalog.data_function(test.function)
    if test.field not in described.outputs:
        known = ", ".join(described.outputs)
        raise UsageError(f"{test.function}({test.query!r}): there is no field '{test.field}': it has {known}")
    try:
        described.check_input({"query": test.query})
    except RPCError as error:
        raise UsageError(f"{test.function}({test.query!r}): {error}") from None

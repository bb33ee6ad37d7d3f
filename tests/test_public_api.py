"""The names that users import from `collective`, and the example that `make types` checks."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import collective
from collective import Pace, Targets
from collective.testing import memory_fleet

EXAMPLE = runpy.run_path(str(Path(__file__).parent / "typing" / "public_api.py"))
NAMES = """AccessDenied Background Call ClientConfig CollectiveError ConfigError DDLError Fleet Forbidden Gates Hooks
    InvalidInput MessageError MessageTooLarge MissingInput NoNodes NotFound Outcomes Pace PlanRefused RPCError Reply
    SignatureError Targets TooManyTargets TransportError Unreachable UsageError __version__ load_client""".split()


def test_the_public_names_are_these() -> None:
    """A name is added to the public API, or removed from it, on purpose only."""
    assert collective.__all__ == NAMES
    assert set(NAMES) <= set(dir(collective))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_can_be_imported(name: str) -> None:
    """Every name in `__all__` is an attribute of the package, and a class keeps its own name."""
    value = getattr(collective, name)
    assert isinstance(value, str) or value.__name__ == name


def test_an_unknown_name_is_an_import_error() -> None:
    """The lazy import does not change the error for a misspelt name."""
    with pytest.raises(ImportError, match="cannot import name 'Flete'"):
        exec("from collective import Flete")  # noqa: S102 - the statement is the subject


@pytest.mark.parametrize("statement", ["import collective", "from collective import Targets, Pace, NoNodes"])
def test_importing_the_package_loads_no_large_library(statement: str) -> None:
    """boto3 and jsonschema are loaded when they are used; a command such as `crpc --version` needs neither."""
    code = f"{statement}\nimport sys\nprint(sorted({{'boto3', 'jsonschema'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_type_checked_example_runs(tmp_path: Path) -> None:
    """The example in `tests/typing` works against nodes in memory."""
    run: dict[str, Any] = EXAMPLE
    with memory_fleet(tmp_path, {"web1": {"role": "web"}, "db1": {"role": "db"}}) as network:
        assert run["values_of_a_fact"](network.fleet, "role") == {"web1": "web", "db1": "db"}
        replies, outcomes = run["rollout"](network.fleet, Targets.select(facts=["role=web"]), Pace(1, max_fail="10%"))
        assert ([reply.sender for reply in replies], outcomes.exit_code()) == (["web1"], 0)
        assert [run["explain"](network.fleet, targets) for targets in run["select"](["web1"])] == [
            "db1, web1",
            "web1",
            "web1",
            "web1",
            "db1, web1",
        ]
        assert run["explain"](network.fleet, Targets.select(facts=["role=mail"])).startswith("none: ")

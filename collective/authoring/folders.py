"""Find code, DDLs and settings in a folder of agents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collective.errors import UsageError


@dataclass(frozen=True)
class AgentFolder:
    """The folders of code, of DDLs and of settings."""

    code: Path
    ddl: Path
    settings: Path

    @classmethod
    def of(cls, folder: Path) -> AgentFolder:
        """Return the folders in `folder`; without `agents` or `ddl` in it, the files are expected in itself.

        Raises UsageError if there is no such folder.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder}: not a folder (give the folder that has 'agents' and 'ddl' in it)")
        code, ddl = folder / "agents", folder / "ddl"
        return cls(code if code.is_dir() else folder, ddl if ddl.is_dir() else folder, folder / "settings")

"""Further callers of a lab, each with a key and a configuration of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from collective.lab.layout import Layout
from support.crpc_process import make_crpc


class OtherCaller:
    """Another caller of the lab, with a key and a configuration of its own."""

    def __init__(self, lab: Layout, folder: Path, name: str, around: dict[str, str], key: Path | None = None) -> None:
        self.name = name
        self.key = key or folder / f"{name}.key"
        if key is None:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        public = self.key.with_name(f"{self.key.name}.pub").read_text().split()
        self.line = f"{name} {public[0]} {public[1]}\n"
        home = folder / name
        home.mkdir()
        values = yaml.safe_load((lab.folder / "client.yaml").read_text())
        values |= {
            "caller": name,
            "key": str(self.key),
            "state": str(home / "state"),
            "ddls": [str(lab.folder / "ddl")],
        }
        self.config = home / "client.yaml"
        self.config.write_text(yaml.safe_dump(values))
        self.crpc = make_crpc({**around, "COLLECTIVE_CONFIG": str(home)})

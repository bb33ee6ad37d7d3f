"""A botocore session with the part of boto3's session that is used here, and quick access to botocore's data files.

boto3's own session also imports its resources and its transfers to S3, which are not used here. Settings,
credentials and clients of a boto3 session are botocore's, and the same here.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session as BotocoreSession
from botocore.session import get_session


class AWSSession(Protocol):
    """What is used of a session; `boto3.Session` has it too."""

    @property
    def region_name(self) -> str:
        """The region of the clients; an empty value if none is set."""

    def client(self, service_name: Any, *, config: Any = None, endpoint_url: str | None = None) -> Any:
        """Return a client of a service."""

    def get_credentials(self) -> Any:
        """Return the credentials, or None."""

    def get_available_partitions(self) -> list[str]:
        """Return the names of the partitions, such as `aws`."""

    def get_available_regions(self, service_name: str, partition_name: str = "aws") -> list[str]:
        """Return the regions of a service in a partition."""


class CoreSession:
    """A session of botocore; `region` takes precedence over its settings."""

    def __init__(self, core: BotocoreSession, region: str | None = None) -> None:
        self._core = core
        if region is not None:
            core.set_config_variable("region", region)

    @property
    def region_name(self) -> str:
        """The region of the clients; an empty value if none is set."""
        return str(self._core.get_config_variable("region") or "")

    def client(self, service_name: Any, *, config: Any = None, endpoint_url: str | None = None) -> Any:
        """Return a client of a service."""
        return self._core.create_client(service_name, config=config, endpoint_url=endpoint_url)

    def get_credentials(self) -> Any:
        """Return the credentials, or None."""
        return self._core.get_credentials()

    def get_available_partitions(self) -> list[str]:
        """Return the names of the partitions, such as `aws`."""
        return list(self._core.get_available_partitions())

    def get_available_regions(self, service_name: str, partition_name: str = "aws") -> list[str]:
        """Return the regions of a service in a partition."""
        return list(self._core.get_available_regions(service_name, partition_name))


_spare: list[BotocoreSession] = []


def make_spare() -> None:
    """Make a session in advance: to register 120 handlers takes 6 ms. Settings and environment are read on use."""
    _spare.append(_new_core())


def new_core() -> BotocoreSession:
    """Return botocore's default session, with the loader of this module: one that was made in advance, if any."""
    with suppress(IndexError):
        return _spare.pop()
    return _new_core()


def _new_core() -> BotocoreSession:
    core = get_session()
    core.lazy_register_component("data_loader", partial(_loader, core))
    return core


def read_ahead(services: Iterable[str]) -> None:
    """Read botocore's data for the clients of these services now; they are kept until a client needs them.

    Reading takes several times the memory of what is kept. A process that does it before it imports its other modules
    uses that memory for them.
    """
    loader = _loader_of(os.environ.get("AWS_DATA_PATH", ""))
    for name in ("endpoints", "partitions", "sdk-default-configuration"):
        loader.load_data(name)
    for service in services:
        for type_name in ("service-2", "endpoint-rule-set-1"):
            with suppress(UnknownServiceError, DataNotFoundError):
                loader.load_service_model(service, type_name)


def _loader(core: BotocoreSession) -> Loader:
    return _loader_of(str(core.get_config_variable("data_path") or ""))


@cache
def _loader_of(data_path: str) -> Loader:
    """Return a loader of the folders in AWS_DATA_PATH and of botocore's own, as botocore's default loader has them.

    All sessions of a process share what it has read.
    """
    extra = [str(Path(os.path.expandvars(path)).expanduser()) for path in data_path.split(os.pathsep) if path]
    return _DataLoader(extra_search_paths=extra, file_loader=_DataFiles())


class _DataLoader(Loader):
    """Lists the folders of services, and not the files in each of 400 folders."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        """Return the names of all services; loading one that has no data of this type raises DataNotFoundError."""
        folders = [folder for folder in map(Path, self.search_paths) if folder.is_dir()]
        return sorted({name for folder in folders for name in os.listdir(folder)})  # noqa: PTH208


class _DataFiles(JSONFileLoader):
    """Reads files as dictionaries, which keep their order: botocore's OrderedDict takes twice as long."""

    def load_file(self, file_path: str) -> Any:
        """Return the content of a file without its extension; None if there is none."""
        for extension, unpack in _EXTENSIONS.items():
            with suppress(FileNotFoundError, NotADirectoryError):
                return _without_unused(unpack(Path(file_path + extension).read_bytes()))
        return None


def _without_unused(content: bytes) -> Any:
    """Return a data file without its documentation, and without the endpoints of services that are not used here.

    They would take 3 MB of each process. A service without an entry has an endpoint of the usual form.
    """
    # The file of endpoints is the largest one and has no documentation: without a hook it takes half the time.
    hook = _without_documentation if b'"documentation"' in content else None
    data = json.loads(content, object_pairs_hook=hook)
    for partition in data.get("partitions", ()) if isinstance(data, dict) else ():
        if isinstance(services := partition.get("services"), dict):
            partition["services"] = {name: one for name, one in services.items() if name in _SERVICES}
    return data


def _without_documentation(members: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in members if name != "documentation" or not isinstance(value, str)}


# Those of clients, and those that botocore gets credentials from.
_SERVICES = frozenset("sqs sns dynamodb sts monitoring sso portal.sso oidc signin cognito-identity".split())
_EXTENSIONS: Mapping[str, Callable[[bytes], bytes]] = {".json": bytes, ".json.gz": gzip.decompress}

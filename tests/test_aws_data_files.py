"""What is kept of botocore's data files: all that clients need, and little else."""

from __future__ import annotations

import pytest
from botocore.loaders import Loader
from botocore.session import get_session

from collective.aws.core_session import CoreSession, new_core

SERVICES = ("sqs", "sns", "dynamodb", "sts", "cloudwatch", "sso", "sso-oidc", "cognito-identity")


@pytest.mark.parametrize("service", SERVICES)
def test_a_used_service_has_the_same_regions_and_endpoints(service: str) -> None:
    """In all partitions, as with botocore's own loader."""
    ours, theirs = CoreSession(new_core()), get_session()
    for partition in theirs.get_available_partitions():
        expected = theirs.get_available_regions(service, partition)
        assert sorted(ours.get_available_regions(service, partition)) == sorted(expected)


def test_data_files_are_kept_without_documentation_and_other_services() -> None:
    """Each process would hold 3 MB of them."""
    loader = new_core().get_component("data_loader")
    partition = loader.load_data("endpoints")["partitions"][0]
    assert {"sqs", "sns", "dynamodb", "sts"} <= partition["services"].keys()
    assert len(partition["services"]) < 12
    full, kept = Loader().load_service_model("sqs", "service-2"), loader.load_service_model("sqs", "service-2")
    assert full["shapes"].keys() == kept["shapes"].keys()
    assert len(str(kept)) < len(str(full)) / 2

"""Logs of endpoints: SageMaker makes them without tags, and without their endpoint they would be nobody's."""

from __future__ import annotations

import sys

from deploy.account import TAG, Account

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"


def mark(account: Account, arn: str) -> None:
    """Tags a group, so that `teardown` knows whose it is when its endpoint is gone."""
    account.client("logs").tag_resource(resourceArn=arn, tags={TAG: account.stack})


def mark_of(account: Account, endpoint: str) -> None:
    """The group of one endpoint, if it has one. Who may not tag it is told so, and can go on to delete the endpoint."""
    from botocore.exceptions import ClientError

    name = ENDPOINT_LOGS + endpoint
    try:
        for page in account.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
            for said in page["logGroups"]:
                if said["logGroupName"] == name:
                    mark(account, said["arn"].removesuffix(":*"))
    except ClientError as error:
        print(f"{name} stays untagged, so that teardown will not find it: {error}", file=sys.stderr)

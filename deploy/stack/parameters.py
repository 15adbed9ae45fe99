"""What the template is told: where AWS keeps its training images, and what else both roles may read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploy.account import LONGEST_STACK, Account
from deploy.errors import DeployError

NAME = re.compile(rf"[a-z][a-z0-9-]{{1,{LONGEST_STACK - 1}}}")
ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^,*?]*))?")
NOTHING = "none"

#: AWS's account for deep-learning images where it is not IMAGES_ACCOUNT
#: (https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html)
IMAGES_ACCOUNT = "763104351884"
IMAGES_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "eusc-de-east-1": "204133271717",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "me-west-1": "124382933778",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}


def parameters(account: Account, read: Sequence[str] | None) -> dict[str, str | None]:
    """By the template's names; None where the stack's own value is to stay.

    `read` lists s3:// prefixes of other buckets, or "none"; without it what was allowed before stays so. Raises
    DeployError bad_stack_name, bad_address.
    """
    if not NAME.fullmatch(account.stack):
        detail = f"{account.stack} cannot name a stack: take 2 to {LONGEST_STACK} of a-z, 0-9 and -, a letter first."
        raise DeployError("bad_stack_name", detail)
    images = IMAGES_ACCOUNTS.get(account.region, IMAGES_ACCOUNT)
    return {"TrainingImagesAccount": images, **_readable(account, read)}


def _readable(account: Account, read: Sequence[str] | None) -> dict[str, str | None]:
    if read is None:
        return dict.fromkeys(("ReadObjects", "ReadBuckets", "ReadPrefixes"))
    s3 = f"arn:{account.session.get_partition_for_region(account.region)}:s3:::"
    objects: set[str] = set()
    buckets: set[str] = set()
    prefixes: set[str] = set()
    for address in read if list(read) != [NOTHING] else ():
        found = ADDRESS.fullmatch(address)
        if found is None:
            raise DeployError(
                "bad_address", f"{address} cannot be allowed: write s3://bucket/prefix, without * ? and ,."
            )
        folder = (found["prefix"] or "").strip("/")
        objects.add(f"{s3}{found['bucket']}/{folder}/*" if folder else f"{s3}{found['bucket']}/*")
        buckets.add(f"{s3}{found['bucket']}")
        prefixes |= {folder, f"{folder}/*"} if folder else {"*"}
    every = {"ReadObjects": objects, "ReadBuckets": buckets, "ReadPrefixes": prefixes}
    return {name: ",".join(sorted(values)) for name, values in every.items()}

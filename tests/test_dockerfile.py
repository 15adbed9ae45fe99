"""What the Dockerfile promises to platforms, as far as that shows without building it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Service

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def words(instruction: str) -> list[str]:
    """Those of an instruction in exec form, the only one in which signals arrive and no shell is needed."""
    (said,) = re.findall(rf"^{instruction}\b.*?(\[.*\])$", TEXT, re.MULTILINE)
    return list(json.loads(said))


def test_it_starts_the_service_without_a_shell_and_takes_serve_as_argument() -> None:
    assert words("ENTRYPOINT") == ["python", "-m", "service"]
    assert words("CMD") == ["serve"]


def test_without_a_target_it_is_what_serves_on_cpus() -> None:
    assert re.findall(r"^FROM .* AS (\S+)$", TEXT, re.MULTILINE)[-1] == "cpu"


@pytest.mark.parametrize(("port", "code"), [("its own", 0), ("1", 1)])
def test_its_check_of_health_passes_while_the_service_is_ready_and_only_then(
    service: Service, port: str, code: int
) -> None:
    _, *check = words("HEALTHCHECK")
    if port == "its own":
        port = service.url.rpartition(":")[2]
    environment = os.environ | {"SAGEMAKER_BIND_TO_PORT": port, "http_proxy": "http://127.0.0.1:1"}
    assert subprocess.run([sys.executable, *check], env=environment, capture_output=True).returncode == code

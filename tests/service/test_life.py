from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from service.model.artifact import Artifact
from tests.conftest import Service, StartService
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance())


def last_lines(service: Service) -> list[str]:
    return [json.loads(line)["message"] for line in service.log.read_text().splitlines()]


def test_while_it_loads_ping_and_work_are_refused_and_then_served(start: StartService) -> None:
    service = start()
    seen = set()
    while httpx.Client:  # until it is ready
        try:
            ping = httpx.get(f"{service.url}/ping", timeout=5).status_code
        except httpx.TransportError:
            continue
        seen.add(ping)
        if ping == 200:
            break
        refused = service.post(TILE)
        if refused.status_code != 200:
            assert (refused.status_code, refused.json()["code"]) == (503, "loading")
            assert refused.headers["retry-after"]
    assert seen == {503, 200}
    assert service.post(TILE).status_code == 200


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("altered", "backbone.safetensors was altered"),
        ("missing", "missing: head.safetensors"),
        ("labels", "head.safetensors: weight is 5×192, but model.json asks for 4×192"),
        ("nothing", "model.json is missing"),
    ],
)
def test_a_broken_artifact_is_refused_in_one_clear_line(
    start: StartService, tiny_artifact: Artifact, tmp_path: Path, spoil: str, said: str
) -> None:
    folder = Path(shutil.copytree(tiny_artifact.path, tmp_path / "broken"))
    if spoil == "altered":
        (folder / "backbone.safetensors").write_bytes((folder / "backbone.safetensors").read_bytes() + b"\0")
    elif spoil == "missing":
        (folder / "head.safetensors").unlink()
    elif spoil == "labels":
        content = json.loads((folder / "model.json").read_text())
        content["labels"].pop()
        (folder / "model.json").write_text(json.dumps(content))
    else:
        (folder / "model.json").unlink()
    service = start(folder)
    assert service.process.wait(30) == 1
    settings, reason = last_lines(service)
    assert settings.startswith("settings")
    assert reason.startswith("cannot serve: ")
    assert said in reason


def test_weights_that_do_not_fit_are_refused_in_one_clear_line_though_loading_has_begun(
    start: StartService, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    import hashlib

    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(tiny_artifact.path, tmp_path / "broken"))
    weights = load_file(folder / "backbone.safetensors")
    del weights["blocks.0.norm1.weight"]
    save_file(weights, folder / "backbone.safetensors")
    content = json.loads((folder / "model.json").read_text())
    content["files"]["backbone.safetensors"] = hashlib.sha256(
        (folder / "backbone.safetensors").read_bytes()
    ).hexdigest()
    (folder / "model.json").write_text(json.dumps(content))
    service = start(folder)
    assert service.process.wait(60) == 1
    assert [line for line in last_lines(service) if "cannot serve" in line] == [
        "cannot serve: backbone has no tensor blocks.0.norm1.weight (1 missing)"
    ]


def test_a_wrong_setting_is_named(start: StartService) -> None:
    service = start(MAX_WAIT_S="soon")
    assert service.process.wait(30) == 2
    assert "MAX_WAIT_S" in service.log.read_text()


def test_a_port_in_use_ends_it_with_an_error(start: StartService) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        service = start(SAGEMAKER_BIND_TO_PORT=str(taken.getsockname()[1]))
        assert service.process.wait(60) == 1
        assert "in use" in service.log.read_text()


def test_sigterm_answers_what_was_accepted_and_ends_with_0(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    scene = geotiff(reflectance(side=2400), compress="deflate")  # 400 windows: seconds of work
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(service.post(scene, outputs="probabilities")))
    asking.start()
    time.sleep(0.5)
    service.process.send_signal(signal.SIGTERM)
    while httpx.get(f"{service.url}/ping", timeout=5).status_code == 200:
        time.sleep(0.01)
    refused = service.post(TILE)
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    asking.join(30)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["predictions"]) == 400
    assert service.process.wait(10) == 0


def test_sigterm_ends_it_in_time_even_if_an_upload_never_does(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\nContent-Type: image/tiff\r\n\r\nII"
        )
        time.sleep(0.3)
        asked = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert time.monotonic() - asked < 25


def test_its_decode_processes_end_with_it_however_it_ends(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    assert len(children) >= 2
    service.process.kill()
    service.process.wait()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and is_worker(pid) for pid in children):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_worker(pid: str) -> bool:
    try:
        return b"service.imagery.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_decode_process_that_dies_is_replaced_and_ping_stays_well(start: StartService) -> None:
    service = start(DECODE_WORKERS="1")
    service.wait_until_ready()
    (worker,) = [
        pid
        for pid in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
        if is_worker(pid)
    ]
    import os

    os.kill(int(worker), signal.SIGKILL)
    assert service.post(TILE).status_code == 200
    assert httpx.get(f"{service.url}/ping").status_code == 200

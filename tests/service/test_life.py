from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service import server
from service.model.artifact import Artifact
from tests.conftest import ROOT, Service, StartService
from tests.corpus.trial import decode_processes, does_decode, fork_servers, send
from tests.imagery import geotiff, reflectance
from tests.waiting import wait_until

TILE = geotiff(reflectance())


def last_lines(service: Service) -> list[str]:
    return [json.loads(line)["message"] for line in service.log.read_text().splitlines()]


def test_while_it_loads_ping_and_work_are_refused_and_then_served(start: StartService) -> None:
    service = start(DECODE_WORKERS="6")  # which take longer to start than the port to be open
    seen = set()

    def is_ready() -> bool:
        try:
            seen.add(service.get("/ping").status_code)
        except httpx.TransportError:
            assert service.process.poll() is None
            return False
        refused = service.post(TILE)
        if refused.status_code != 200:
            assert (refused.status_code, refused.json()["code"]) == (503, "loading")
            assert refused.headers["retry-after"]
        return 200 in seen

    wait_until(is_ready)
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
    assert service.process.wait(120) == 1
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
    assert service.process.wait(120) == 1
    assert [line for line in last_lines(service) if "cannot serve" in line] == [
        "cannot serve: backbone has no tensor blocks.0.norm1.weight (1 missing)"
    ]


def test_a_wrong_setting_is_named(start: StartService) -> None:
    service = start(MAX_WAIT_S="soon")
    assert service.process.wait(120) == 2
    assert "MAX_WAIT_S" in service.log.read_text()


def test_a_port_in_use_ends_it_with_an_error(start: StartService) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        service = start(SAGEMAKER_BIND_TO_PORT=str(taken.getsockname()[1]))
        assert service.process.wait(120) == 1
        assert "in use" in service.log.read_text()


def test_sigterm_answers_what_was_accepted_and_ends_with_0(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(service.post(TILE)))
    send(signal.SIGSTOP, decode_processes(service))  # so that it is at work as long as we want
    asking.start()
    wait_until(lambda: service.metric("aerial_requests_in_flight") == 1)
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: service.get("/ping").status_code == 503)
    refused = service.post(TILE)
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    send(signal.SIGCONT, decode_processes(service))
    asking.join(60)
    assert answers[0].status_code == 200
    assert service.process.wait(60) == 0


def begin_upload(
    service: Service, body: bytes, announced: int, path: str = "/invocations", kind: str = "image/tiff"
) -> socket.socket:
    """A connection on which a request has begun, to a client that takes little at a time."""
    host, port = service.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\nContent-Type: {kind}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


LARGE_SCENE = geotiff(reflectance(side=3960), compress="deflate")  # an answer of 9 MB: no kernel holds it for us
HALF_BODIES = {
    "image/tiff": TILE[:2],
    "multipart/form-data; boundary=x": b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.tif"\r\n\r\nII',
    "application/json": b'{"instances": [{"image": "',
    "application/jsonlines": b'{"s3_uri": "s3://tiles/a.tif"}\n',
}


def test_sigterm_ends_it_in_time_even_if_uploads_never_do_nor_anybody_reads_and_s3_never_answers(
    start: StartService,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_s3, ExitStack() as clients:
        s3 = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent_s3.getsockname()[1]}", "ALLOWED_S3_PREFIXES": "s3://tiles"}
        service = start(**s3, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="eu-central-1")
        service.wait_until_ready()
        deaf = clients.enter_context(
            begin_upload(service, LARGE_SCENE, len(LARGE_SCENE), "/invocations?outputs=token_embeddings")
        )
        deaf.recv(1)  # its answer has begun, and no more is read
        deaf.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\nContent-Type: image/tiff\r\n\r\nII"
        )
        waiting = [
            clients.enter_context(begin_upload(service, body, 10_000, kind=kind)) for kind, body in HALF_BODIES.items()
        ]
        line = HALF_BODIES["application/jsonlines"]
        waiting.append(clients.enter_context(begin_upload(service, line, len(line), kind="application/jsonlines")))
        silent_s3.settimeout(60)
        clients.enter_context(silent_s3.accept()[0])
        wait_until(lambda: service.metric("aerial_requests_in_flight") == len(waiting) + 1)
        service.process.send_signal(signal.SIGTERM)
        for client in waiting:
            answer = b"".join(iter(lambda client=client: client.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 503")
            assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == "draining"
        assert service.process.wait(30 - server.DRAIN_S) == 0  # SageMaker kills after 30 s


def test_an_upload_that_began_before_sigterm_is_still_answered(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    with begin_upload(service, TILE[:100], len(TILE)) as slow:
        wait_until(lambda: service.metric("aerial_requests_in_flight") == 1)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: service.get("/ping").status_code == 503)
        slow.sendall(TILE[100:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
    assert service.process.wait(60) == 0


def test_a_slow_reader_gets_all_of_an_answer_that_sigterm_comes_into(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    with begin_upload(service, LARGE_SCENE, len(LARGE_SCENE), "/invocations?outputs=token_embeddings") as slow:
        answer = slow.recv(1024)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(4)  # more than a server in a hurry would wait
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # slow it was; all is to be read in time
        answer += b"".join(iter(lambda: slow.recv(1 << 20), b""))
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert len(body) == int(headers.lower().split(b"content-length: ")[1].split()[0])
    assert len(json.loads(body)["predictions"]) == 33**2
    assert service.process.wait(60) == 0


def test_a_client_that_leaves_is_no_fault_of_ours(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    with begin_upload(service, TILE[:2], len(TILE)):
        wait_until(lambda: service.metric("aerial_requests_in_flight") == 1)
    wait_until(lambda: service.metric('aerial_requests_total{code="client_gone"}') == 1)
    assert "internal" not in service.get("/metrics").text
    assert "ERROR" not in service.log.read_text()


def test_a_decode_process_that_cannot_be_replaced_ends_the_service(start: StartService, tmp_path: Path) -> None:
    code = Path(shutil.copytree(ROOT / "service", tmp_path / "code" / "service"))
    processes = code / "imagery" / "decoding" / "processes.py"
    processes.write_text(processes.read_text().replace("PAUSES_S = (0.5, 2.0, 5.0)", "PAUSES_S = (0.1, 0.1, 0.1)"))
    service = start(PYTHONPATH=str(code.parent))
    service.wait_until_ready()
    (server,), workers = fork_servers(service), decode_processes(service)
    (code / "imagery" / "decoding" / "worker.py").write_text("raise SystemExit('a library is gone')")
    send(signal.SIGKILL, [server, workers[0]])
    assert service.process.wait(50) == 1  # none of its attempts hung: each may take a minute
    log = service.log.read_text()
    assert "a library is gone" in log
    assert "cannot serve: a decode process could not be started" in log


def test_its_decode_processes_end_with_it_however_it_ends(start: StartService) -> None:
    service = start(DECODE_WORKERS="2")
    service.wait_until_ready()
    children = decode_processes(service)
    assert len(children) == 2 + 1 + 1  # DECODE_WORKERS, a spare, and one for large tiles
    children += fork_servers(service)
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(map(does_decode, children)))


def test_it_may_have_as_many_clients_as_the_system_allows_whatever_a_shell_says(start: StartService) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    service = start()
    service.wait_until_ready()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_decode_process_that_dies_is_replaced_and_ping_stays_well(start: StartService) -> None:
    service = start()
    service.wait_until_ready()
    send(signal.SIGKILL, decode_processes(service))
    assert service.post(TILE).status_code == 200
    assert service.get("/ping").status_code == 200

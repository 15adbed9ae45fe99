"""A decode process: reads tiles from its standard input, writes patches to its standard output.

Started by `service.imagery.decoding.pool`, which kills it when it takes too long. It imports no torch, knows no
model, opens nothing once it is ready, and lives as long as its standard input.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio

from service.imagery.decoding import frames, sandbox, warming
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.imagery.scene import read_window
from service.imagery.tiff.mapped import mapped
from service.imagery.tiff.opening import GDAL_OPTIONS

PIPE_BYTES = 2**18


@dataclass(frozen=True)
class Reading:
    """What the answers of a process have in common."""

    spec: InputSpec
    image_size: int
    scene: memoryview | None  #: a file of which windows can be asked for


def answer(head: dict[str, Any], blobs: list[bytes], reading: Reading) -> bytes:
    """The frame that answers a request: patches resized to `image_size`, the error, or a failure of ours."""
    try:
        files, options = frames.parse_request(head, blobs)
        if reading.scene and not files:
            patches = read_window(reading.scene, reading.spec, options)
        else:
            patches = read_tile(files, reading.spec, options)
        images = np.stack([resize(patch.pixels, reading.image_size) for patch in patches])
        return frames.pack({"patches": [asdict(patch.facts) for patch in patches]}, [images.tobytes()])
    except ImageryError as error:
        return frames.pack({"error": {"code": error.code, "detail": error.detail, "limits": error.limits}})
    except MemoryError:
        detail = "Decoding the image needs more memory than one tile may have; send smaller windows."
        return frames.pack({"error": {"code": "image_too_large", "detail": detail, "limits": {}}})
    except Exception:  # told to the service, which logs it; the next tile is decoded
        return frames.pack({"failure": traceback.format_exc()})


def _read_frame(requests: BinaryIO, answers: BinaryIO) -> tuple[dict[str, Any], list[bytes]] | None:
    length = requests.read(frames.LENGTH.size)
    if len(length) < frames.LENGTH.size:
        return None
    answers.write(frames.BEGUN)
    answers.flush()
    head = json.loads(requests.read(*frames.LENGTH.unpack(length)))
    return head, [requests.read(size) for size in head["blobs"]]


def _widen(pipe: BinaryIO) -> None:
    """Makes room for a patch of 224 px: with the kernel's 64 KiB both ends wake thrice, 0.4 ms of CPU time a patch."""
    with suppress(AttributeError, OSError):  # no Linux, or it has given away as much as it may
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def main() -> None:
    """Serves frames until standard input ends. The first argument is the configuration as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends its workers, a terminal does not
    config = json.loads(sys.argv[1])
    reading = Reading(
        spec=InputSpec(**{**config["spec"], "bands": tuple(config["spec"]["bands"])}),
        image_size=config["image_size"],
        scene=mapped(Path(config["scene"])) if config["scene"] else None,
    )
    # Before it warms up: that there is too little memory to begin with is told now, not by every tile.
    sandbox.limit_memory(config["memory_mb"] * 2**20 + len(reading.scene or b""))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    _widen(answers)
    with rasterio.Env(**GDAL_OPTIONS):  # entered once: GDAL is set up and taken down with the outermost
        warming.warm(config["image_size"])
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # a stray print of a library must not break a frame
        os.dup2(nowhere, 2)  # nor may a file write to the log; until here it told why a start failed
        sandbox.close()
        answers.write(frames.pack({"ready": True}))
        answers.flush()
        while (frame := _read_frame(requests, answers)) is not None:
            sandbox.allow_cpu(config["timeout_s"])
            answers.write(answer(*frame, reading))
            answers.flush()


if __name__ == "__main__":
    main()

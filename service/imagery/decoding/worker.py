"""A decode process: reads tiles from one pipe, writes patches to another.

Run as a program it is the fork server: it warms up, and forks decode processes as the service asks for them. Such a
process imports no torch, knows no model, opens nothing once it is ready, and lives as long as its requests; the service
kills it when it takes too long.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio

from service.imagery.decoding import forks, frames, sandbox, warming
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.imagery.scene import read_window
from service.imagery.tiff.kept import Kept
from service.imagery.tiff.mapped import mapped
from service.imagery.tiff.opening import GDAL_OPTIONS


@dataclass(frozen=True)
class Reading:
    """What the answers of a process have in common."""

    spec: InputSpec
    image_size: int
    scene: Sequence[TileFile]  #: of which windows can be asked for


def answer(head: dict[str, Any], blobs: list[bytes], reading: Reading) -> bytes:
    """The frame that answers a request: patches resized to `image_size`, the error, or a failure of ours."""
    try:
        files, options = frames.parse_request(head, blobs)
        if reading.scene and not files:
            patches = read_window(reading.scene, reading.spec, options)
        else:
            patches = read_tile(files, reading.spec, options)
        side = reading.image_size
        images = np.empty((len(patches), side, side, len(reading.spec.bands)), np.uint8)
        for image, patch in zip(images, patches, strict=True):  # into place: a scene's patches are too many for copies
            image[...] = resize(patch.pixels, side)
        return frames.pack({"patches": [patch.facts for patch in patches]}, [images.data.cast("B")])
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


def main() -> None:
    """Forks decode processes until standard input, a socket, ends. The first argument is the configuration as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends its workers, a terminal does not
    config = json.loads(sys.argv[1])
    reading = Reading(
        spec=InputSpec(**{**config["spec"], "bands": tuple(config["spec"]["bands"])}),
        image_size=config["image_size"],
        scene=[TileFile(mapped(Path(file)), band, Kept()) for file, band in config["scene"]],
    )
    # Before it warms up: that there is too little memory to begin with is told now, not by every tile.
    sandbox.limit_memory(config["memory_mb"] * 2**20 + sum(len(file.data) for file in reading.scene))
    with rasterio.Env(**GDAL_OPTIONS):  # entered once: GDAL is set up and taken down with the outermost
        warming.warm(config["image_size"])
        nowhere = os.open(os.devnull, os.O_RDWR)

        def decode(requests: int, answers: int) -> None:
            os.dup2(nowhere, 0)  # the server's socket was there
            warming.reopen()
            os.dup2(nowhere, 1)  # a stray print of a library is nobody's
            os.dup2(nowhere, 2)  # nor may a file write to the log; until here it told why a start failed
            sandbox.close()
            with open(requests, "rb") as asking, open(answers, "wb") as answering:
                _answer_all(asking, answering, reading, config["timeout_s"])

        forks.serve(socket.socket(fileno=0), decode)


def _answer_all(requests: BinaryIO, answers: BinaryIO, reading: Reading, timeout_s: float) -> None:
    answers.write(frames.pack({"ready": True}))
    answers.flush()
    while (frame := _read_frame(requests, answers)) is not None:
        sandbox.allow_cpu(timeout_s)
        answers.write(answer(*frame, reading))
        answers.flush()


if __name__ == "__main__":
    main()

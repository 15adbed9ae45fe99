"""What the service and its decode processes say to each other: a JSON head and raw bytes, never a pickle.

A frame is the head's length (4 bytes, big-endian), the head (UTF-8 JSON) and the blobs whose
lengths the head lists under "blobs". A decode process says BEGUN once a request begins to arrive, before it looks at
any of it: a process that ends without a word cannot have ended because of the tile.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from service.imagery.patches import Caution, PatchFacts, Radiometry, ReadOptions, TileFile
from service.imagery.tiff.limits import Limits

LENGTH = struct.Struct(">I")
PIECE_BYTES = 2**17  # half of what waits in a pipe
BEGUN = b"\x06"  # ASCII's ACK

Bytes = bytes | memoryview


def pack(head: dict[str, Any], blobs: Sequence[Bytes] = ()) -> bytes:
    """One frame."""
    text = json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode()
    return b"".join([LENGTH.pack(len(text)), text, *blobs])


def pieces(head: dict[str, Any], blobs: Sequence[Bytes]) -> Iterator[Bytes]:
    """One frame as a pipe takes it: all at once, or, where it is large, bit by bit and never copied as a whole."""
    if sum(map(len, blobs)) < PIECE_BYTES:
        yield pack(head, blobs)
        return
    text = json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode()
    yield LENGTH.pack(len(text)) + text
    for blob in blobs:
        view = memoryview(blob)
        yield from (view[start : start + PIECE_BYTES] for start in range(0, len(blob), PIECE_BYTES))


def request(files: Sequence[TileFile], options: ReadOptions) -> tuple[dict[str, Any], list[Bytes]]:
    """The head and the blobs that ask for a tile."""
    said = {**vars(options), "limits": vars(options.limits)}  # asdict copies deeply, and takes 0.01 ms
    return {"bands": [file.band for file in files], "options": said}, [file.data for file in files]


def parse_request(head: dict[str, Any], blobs: Sequence[Bytes]) -> tuple[list[TileFile], ReadOptions]:
    """The tile that a frame asks for."""
    options = head["options"]
    bands, window = (tuple(options[name]) if options[name] is not None else None for name in ("bands", "window"))
    files = [TileFile(data, band) for data, band in zip(blobs, head["bands"], strict=True)]
    return files, ReadOptions(**{**options, "bands": bands, "window": window, "limits": Limits(**options["limits"])})


def parse_facts(value: dict[str, Any]) -> PatchFacts:
    """`PatchFacts` from what `dataclasses.asdict` and JSON made of it."""
    radiometry = {**value["radiometry"], "bands": tuple(value["radiometry"]["bands"])}
    return PatchFacts(
        **{
            **value,
            "window": tuple(value["window"]),
            "transform": value["transform"] and tuple(value["transform"]),
            "radiometry": Radiometry(**radiometry),
            "warnings": tuple(Caution(**warning) for warning in value["warnings"]),
        }
    )

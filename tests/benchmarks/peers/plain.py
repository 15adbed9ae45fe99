"""FastAPI around the model, one uvicorn process.

ARTIFACT=folder uvicorn tests.benchmarks.peers.plain:app
"""

import os
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import torch
from fastapi import Body, FastAPI

from service.cpus import usable_cpus
from tests.benchmarks.peers.model import Model

torch.set_num_threads(usable_cpus())
app, model, turn = FastAPI(), Model(Path(os.environ["ARTIFACT"])), Lock()


@app.get("/ping")
def ping() -> None:
    """Loaded."""


@app.post("/invocations")
def invocations(tile: Annotated[bytes, Body(media_type="image/tiff")]) -> dict[str, Any]:
    """FastAPI runs this in one of its forty threads."""
    image = model.read(tile)[None]
    with turn:  # forty threads of torch's own two each would only be in each other's way
        return model.answers(image)[0]

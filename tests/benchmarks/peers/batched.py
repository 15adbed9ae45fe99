"""LitServe around the model: requests are collected into batches.

ARTIFACT=folder python -m tests.benchmarks.peers.batched 8000
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import litserve
import torch
from fastapi import Body

from service.cpus import usable_cpus
from tests.benchmarks.peers.model import Model


class Featurizer(litserve.LitAPI):
    """Reads, batches and answers in LitServe's worker process."""

    def setup(self, device: str) -> None:
        assert device == "cpu"
        torch.set_num_threads(usable_cpus())
        self.model = Model(Path(os.environ["ARTIFACT"]))

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/tiff")]) -> torch.Tensor:
        return self.model.read(request)

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, batch: torch.Tensor) -> list[dict[str, Any]]:
        return self.model.answers(batch)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Featurizer(api_path="/invocations", max_batch_size=8, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, healthcheck_path="/ping", timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")

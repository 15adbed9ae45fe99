from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from service.featurizer import Featurizer
from service.imagery.patches import ReadOptions, TileFile
from service.metrics import Metrics
from service.model import engine as engines
from service.model.artifact import Artifact
from service.model.engine import Output
from service.settings import Settings
from service.tiles import TileAtHand
from tests.imagery import geotiff, reflectance

SCENE = geotiff(reflectance(side=1200), compress="deflate")  # 100 windows


class Counted:
    """An engine of this machine in the place of one of several devices."""

    largest_batch = 16

    def __init__(self, artifact: Artifact) -> None:
        (self._engine,) = engines.choose(artifact, 1, "openvino-fp32").each
        self.name, self.patches = self._engine.name, 0

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        self.patches += len(images)
        return self._engine.run(images, tokens)


async def embeddings(featurizer: Featurizer) -> NDArray[np.float32]:
    """Of the scene's windows, by a featurizer that lives as long."""
    living = asyncio.create_task(featurizer.live())
    while featurizer.status == "loading":
        assert not living.done(), living.exception()
        await asyncio.sleep(0.01)
    (result,) = await featurizer.predict([TileAtHand("a", (TileFile(SCENE),))], ReadOptions(), tokens=False)
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    await featurizer.close()
    assert isinstance(result, list)
    return np.stack([prediction.embedding for prediction in result])


def test_all_devices_of_a_machine_work_on_a_scene(tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def by(*devices: Counted) -> Featurizer:
        monkeypatch.setattr(engines, "choose", lambda *_: engines.Engines(devices))
        return Featurizer(tiny_artifact, Settings(decode_workers=1), Metrics())

    devices = Counted(tiny_artifact), Counted(tiny_artifact)
    two = by(*devices)
    together = asyncio.run(embeddings(two))
    assert two.engine_name == f"2 × {devices[0].name}"
    assert min(device.patches for device in devices) > 1  # the self-test is one
    assert np.allclose(asyncio.run(embeddings(by(devices[0]))), together, atol=1e-5)

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.imagery import eurosat_like
from training.stores import eurosat, store

#: A run that takes seconds: 13 steps an epoch of some 320 images, crops of 16 and 8 pixels.
TINY = (
    *("--preset", "small", "--image-size", "32", "--global-px", "16", "--local-px", "8", "--local-crops", "2"),
    *("--prototypes", "64", "--batch", "24", "--epochs", "2", "--warm-up-epochs", "0.1"),
    *("--optimizer", "muon" if hasattr(torch.optim, "Muon") else "adamw"),  # torch 2.4, too, can pretrain
)
#: The same with a backbone that computes a tenth and whose checkpoints travel in no time; torch alone can serve it.
TINIEST = (*TINY, "--backbone", "test_vit")


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of EuroSAT-like tiles."""
    folder = tmp_path_factory.mktemp("stores")
    store.write(folder / "tiles", eurosat.tiles(eurosat_like(folder / "eurosat", each=40)))
    return folder / "tiles"


@pytest.fixture(scope="session")
def mosaics(tiles: Path) -> Path:
    """A store of mosaics of the same tiles."""
    store.write(tiles.parent / "mosaics", eurosat.mosaics(tiles.parent / "eurosat"))
    return tiles.parent / "mosaics"


@pytest.fixture
def smddp(tmp_path: Path) -> Iterator[Path]:
    """A folder for the import path, in which the stand-in for SMDDP has the real one's name."""
    package = tmp_path / "with_smddp" / "smdistributed" / "dataparallel" / "torch"
    package.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "stand_ins" / "smddp.py", package / "torch_smddp.py")
    yield tmp_path / "with_smddp"
    for name in [name for name in sys.modules if name.startswith("smdistributed")]:
        del sys.modules[name]

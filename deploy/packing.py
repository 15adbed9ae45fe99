"""An artifact as the model.tar.gz that SageMaker unpacks into /opt/ml/model, and back."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from deploy.errors import DeployError
from service.model.artifact import MANIFEST, Artifact

READABLE = 0o644


def pack(artifact: Artifact) -> bytes:
    """model.tar.gz: flat, without links, and of the same bytes whenever and wherever the same artifact is packed.

    Weights hardly compress, and what is only stored does not depend on a version of zlib.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=packed, mtime=0) as whole,
        tarfile.open(mode="w", fileobj=whole, format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in (MANIFEST, *sorted(artifact.manifest.files)):
            content = (artifact.path / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), READABLE
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def unpack(file: Path, folder: Path) -> None:
    """Unpacks into a folder. Raises DeployError bad_archive for one that is broken or reaches outside of it."""
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DeployError("bad_archive", f"{file.name} cannot be unpacked: {error}.") from None

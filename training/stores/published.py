"""Where BigEarthNet and EuroSAT are published, and how they get from there to a folder that `prepare` reads.

Checksums are those that the publishers (Zenodo, TU Berlin) state; EuroSAT's SHA-256 is of the file with Zenodo's MD5
f46e308c4d50d4bf32fedad2d3d62f3b.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from training.stores.download import Remote, fetch
from training.stores.extraction import extract

EUROSAT = Remote(
    "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip",
    "sha256:b4f5b234ecb7d7ff9c6cddb046543b4717c53fd6e9815be6c0e80cc614f51b90",
    94_658_721,
)
_SPLITS_V1 = "https://git.tu-berlin.de/rsim/BigEarthNet-MM_19-classes_models/-/raw/9a5be07346ab0884b2d9517475c27ef9db9b5104/splits"
#: version → the archive of Sentinel-2, then what tells the splits
BIGEARTHNET = {
    1: (
        Remote(
            "https://zenodo.org/records/12687186/files/BigEarthNet-S2-v1.0.tar.gz",
            "md5:5a64e9ce38deb036a435a7b59494924c",
        ),
        Remote(f"{_SPLITS_V1}/train.csv?inline=false", "md5:623e501b38ab7b12fe44f0083c00986d"),
        Remote(f"{_SPLITS_V1}/val.csv?inline=false", "md5:22efe8ed9cbd71fa10742ff7df2b7978"),
        Remote(f"{_SPLITS_V1}/test.csv?inline=false", "md5:697fb90677e30571b9ac7699b7e5b432"),
    ),
    2: (
        Remote(
            "https://zenodo.org/records/10891137/files/BigEarthNet-S2.tar.zst",
            "md5:2245ed2d1a93f6ce637d839bc856396e",
            63_251_710_377,
        ),
        Remote(
            "https://zenodo.org/records/10891137/files/metadata.parquet",
            "md5:55687065e77b6d0b0f1ff604a6e7b49c",
            3_616_349,
        ),
    ),
}
_FILE = re.compile(r"(S2[AB]_MSIL2A_\w+)_(?:(B\d[0-9A])\.tiff?|labels_metadata\.json)")


def eurosat(folder: Path, mirror: str | None, checksums: Mapping[str, str]) -> Path:
    """The archive, fetched into `folder`. `mirror` and `checksums`: see `as_asked`."""
    (archive,) = as_asked((EUROSAT,), mirror, checksums)
    return fetch(archive, folder)


def bigearthnet(
    version: int, folder: Path, bands: Sequence[str], mirror: str | None, checksums: Mapping[str, str]
) -> tuple[Path, Path]:
    """(folder of the patches, folder of what tells the splits), fetched into `folder`; of the patches these bands only.

    Raises as `fetch` and `extract` do.
    """
    archive, *lists = as_asked(BIGEARTHNET[version], mirror, checksums)
    for remote in lists:  # small, and what is wrong with the address shows at once
        fetch(remote, folder / "splits")

    def place(name: str) -> str | None:
        match = _FILE.fullmatch(name)
        return f"{match[1]}/{name}" if match and match[2] in (None, *bands) else None

    return extract(fetch(archive, folder), folder / "patches", place, " ".join(sorted(bands))), folder / "splits"


def as_asked(remotes: Sequence[Remote], mirror: str | None, checksums: Mapping[str, str]) -> list[Remote]:
    """The same files at another address (a folder's), or with SHA-256 of the caller's by file name.

    Raises ValueError for a checksum of none of them.
    """
    if unknown := sorted(checksums.keys() - {remote.name for remote in remotes}):
        files = ", ".join(remote.name for remote in remotes)
        raise ValueError(f"there is a checksum for {', '.join(unknown)}, but what is fetched is {files}")
    asked = []
    for remote in remotes:
        if remote.name in checksums:
            remote = replace(remote, checksum=f"sha256:{checksums[remote.name].lower()}", size=None)
        asked.append(replace(remote, url=f"{mirror.rstrip('/')}/{remote.name}") if mirror else remote)
    return asked

"""`prepare`: turn imagery into a store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.commands import arguments, placement


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    about = "turn imagery into a store"
    kinds = commands.add_parser("prepare", help=about, description=about).add_subparsers(required=True, metavar="KIND")

    def kind(name: str, about: str, source: Any) -> argparse.ArgumentParser:
        command = arguments.command(kinds, name, about, carry_out)
        command.set_defaults(source_of=source)
        command.add_argument("source", type=Path, help="where it lies; with --download, a folder for what is fetched")
        command.add_argument("--out", type=Path, required=True, help="the store's folder")
        placement.add(command, spot=False)
        return command

    for version in (1, 2):
        about = f"folders of patches of BigEarthNet v{version}, a GeoTIFF a band"
        ben = kind(f"bigearthnet-v{version}", about, _bigearthnet)
        ben.set_defaults(version=version)
        arguments.add_bands(ben)
        ben.add_argument(
            "--divisor", type=float, help="DN that becomes 255 (2000; 5000 with bands beyond visible light)"
        )
        _add_download(ben)
        ben.add_argument(
            "--splits", type=Path, help="published lists, metadata.parquet or final_ben_s2.parquet, or their folder"
        )
        ben.add_argument(
            "--keep-flagged", action="store_true", help="keep what the splits leave out: snow, clouds, no label"
        )
    eurosat = kind("eurosat", "EuroSAT RGB, as a folder, a zip or a tar", _eurosat)
    _add_download(eurosat)
    eurosat.add_argument(
        "--layout", choices=["tiles", "mosaics"], default="tiles", help="64 px, single label | 120 px, multi-label"
    )
    eurosat.add_argument(
        "--surface", action="store_true", help="about as at the surface (level 2A) in BigEarthNet's stretch: less haze"
    )
    own = kind("geotiffs", "any folder of GeoTIFFs", _geotiffs)
    arguments.add_bands(own)
    own.add_argument("--name", default="geotiffs", help="the store's name")
    own.add_argument("--labels", type=Path, help="CSV: file, labels (separated by |), split (optional)")
    own.add_argument(
        "--file-bands", type=arguments.names, help="names of the files' bands, in file order, where they do not say"
    )
    own.add_argument("--patch-px", type=int, default=120)
    own.add_argument("--gsd", type=float, default=10.0, help="metres a pixel")
    own.add_argument("--divisor", type=float, default=2000.0, help="DN that becomes 255")
    own.add_argument("--boa-offset", type=int, help="added to DN; -1000 for Sentinel-2 from baseline 04.00 on")
    own.add_argument("--scale", type=float, help="factor from file values to DN")


def _add_download(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--download", action="store_true", help="fetch what is published; goes on where it broke off, checks checksums"
    )
    command.add_argument("--from", dest="mirror", metavar="URL", help="of a folder with the same files, to fetch there")
    command.add_argument(
        "--sha256", type=_checksum, action="append", default=[], metavar="FILE=HEX", help="if not the published file's"
    )


def _checksum(text: str) -> tuple[str, str]:
    name, found, digest = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError("say FILE=HEX")
    return name, digest


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training.stores import store

    rejected = store.write(asked.out, asked.source_of(asked))
    made = store.Store.open(asked.out)
    splits = {str(s): len(made.of_split(s)) for s in (*store.SPLITS, None)}
    print(f"{asked.out}: {len(made.rows)} images, " + ", ".join(f"{name} {n}" for name, n in splits.items() if n))
    if rejected:
        print(f"{len(rejected)} could not be read:")
        for entry in rejected:
            print(f"  {entry.name}: {entry.reason}")
    return 0 if made.rows else 1


def _bigearthnet(asked: argparse.Namespace) -> Any:
    from training.stores import bigearthnet

    source, splits = asked.source, asked.splits
    if asked.download:
        from training.stores import published

        source, lists = published.bigearthnet(
            asked.version, asked.source, asked.bands, asked.mirror, dict(asked.sha256)
        )
        splits = splits or lists
    return bigearthnet.read(source, asked.version, splits, asked.bands, asked.keep_flagged, asked.divisor)


def _eurosat(asked: argparse.Namespace) -> Any:
    from training.stores import eurosat

    source = asked.source
    if asked.download:
        from training.stores import published

        source = published.eurosat(asked.source, asked.mirror, dict(asked.sha256))
    return (eurosat.tiles if asked.layout == "tiles" else eurosat.mosaics)(source, asked.surface)


def _geotiffs(asked: argparse.Namespace) -> Any:
    from service.imagery.patches import InputSpec
    from training.stores import geotiffs

    spec = InputSpec(asked.bands, asked.patch_px, asked.gsd, asked.divisor)
    return geotiffs.read(asked.source, asked.name, spec, asked.labels, asked.file_bands, asked.boa_offset, asked.scale)

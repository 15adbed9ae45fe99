"""Makes the weights that the service serves, one command after the other:

    prepare    a store from BigEarthNet, EuroSAT or a folder of GeoTIFFs
    pretrain   DINO on stores, without labels
    probe      a linear head on the frozen backbone, for a labelled store
    evaluate   a table of representations on the test splits
    package    the artifact

Every command shows its progress and, killed and called again, goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # python training/run.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Nothing heavy is imported here: --help must answer at once, and pretraining must not need rasterio.

#: What `pretrain` does unless told otherwise: the reference, or what two CPU cores learn most from.
PRESETS: dict[str, dict[str, Any]] = {
    "reference": {
        "backbone": "vit_small_patch16_224", "patch_size": 16, "image_size": 224,
        "global_px": 224, "local_px": 96, "local_crops": 8, "global_scale": (0.4, 1.0), "local_scale": (0.05, 0.4),
        "recipe": "reference", "prototypes": 65536, "targets": "centred", "teacher_temperature": 0.04,
        "optimizer": "adamw", "learning_rate": 0.0005, "weight_decay": (0.04, 0.4), "momentum": 0.996,
        "batch": 64, "epochs": 100.0, "warm_up_epochs": 10.0, "freeze_epochs": 1.0, "drop_path": 0.1,
    },
    "small": {
        "backbone": "vit_tiny_patch16_224", "patch_size": 8, "image_size": 112,
        "global_px": 64, "local_px": 32, "local_crops": 6, "global_scale": (0.4, 1.0), "local_scale": (0.05, 0.4),
        "recipe": "overhead", "prototypes": 4096, "targets": "balanced", "teacher_temperature": 0.04,
        "optimizer": "muon", "learning_rate": 0.008, "weight_decay": (0.04, 0.4), "momentum": 0.99,
        "batch": 32, "epochs": 10.0, "warm_up_epochs": 1.0, "freeze_epochs": 0.3, "drop_path": 0.1,
    },
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 when a command cannot do what it was asked, 2 for a wrong command line."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed) or 0)
    except (FileNotFoundError, FileExistsError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and type(error).__module__ != "training.runs":
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="training/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_pretrain(commands)
    _add_probe(commands)
    _add_evaluate(commands)
    _add_package(commands)
    return parser


def _command(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(command=run)
    return command


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pair(text: str) -> tuple[float, float]:
    first, last = (float(part) for part in text.split(","))
    return first, last


def _add_prepare(commands: Any) -> None:
    command = _command(commands, "prepare", "turn imagery into a store", _prepare)
    command.add_argument("kind", choices=["bigearthnet-v1", "bigearthnet-v2", "eurosat", "geotiffs"])
    command.add_argument("source", type=Path, help="folder, or for eurosat also a tar")
    command.add_argument("--out", type=Path, required=True, help="the store's folder")
    command.add_argument("--bands", type=_names, default=("B04", "B03", "B02"), help="bands to keep, in this order")
    ben = command.add_argument_group("bigearthnet")
    ben.add_argument(
        "--splits", type=Path, help="published lists, metadata.parquet or final_ben_s2.parquet, or their folder"
    )
    ben.add_argument(
        "--keep-flagged", action="store_true", help="keep snow, clouds and patches without one of the 19 labels"
    )
    eurosat = command.add_argument_group("eurosat")
    eurosat.add_argument(
        "--layout", choices=["tiles", "mosaics"], default="tiles", help="64 px, single label | 120 px, multi-label"
    )
    own = command.add_argument_group("geotiffs")
    own.add_argument("--name", default="geotiffs", help="the store's name")
    own.add_argument("--labels", type=Path, help="CSV: file, labels (separated by |), split (optional)")
    own.add_argument(
        "--file-bands", type=_names, help="names of the files' bands, in file order, where they do not say"
    )
    own.add_argument("--patch-px", type=int, default=120)
    own.add_argument("--gsd", type=float, default=10.0, help="metres a pixel")
    own.add_argument("--divisor", type=float, default=2000.0, help="DN that becomes 255")
    own.add_argument("--boa-offset", type=int, help="added to DN; -1000 for Sentinel-2 from baseline 04.00 on")
    own.add_argument("--scale", type=float, help="factor from file values to DN")


def _prepare(asked: argparse.Namespace) -> int:
    from training.stores import store

    written = store.write(asked.out, _source(asked))
    made = store.Store.open(asked.out)
    splits = {str(s): len(made.of_split(s)) for s in (*store.SPLITS, None)}
    print(f"{asked.out}: {len(made.rows)} images, " + ", ".join(f"{name} {n}" for name, n in splits.items() if n))
    if written:
        print(f"{len(written)} could not be read:")
        for entry in written:
            print(f"  {entry.name}: {entry.reason}")
    return 0


def _source(asked: argparse.Namespace) -> Any:
    if asked.kind == "eurosat":
        from training.stores import eurosat

        return (eurosat.tiles if asked.layout == "tiles" else eurosat.mosaics)(asked.source)
    if asked.kind == "geotiffs":
        from service.imagery.patches import InputSpec
        from training.stores import geotiffs

        spec = InputSpec(asked.bands, asked.patch_px, asked.gsd, asked.divisor)
        return geotiffs.read(
            asked.source, asked.name, spec, asked.labels, asked.file_bands, asked.boa_offset, asked.scale
        )
    from training.stores import bigearthnet

    return bigearthnet.read(asked.source, int(asked.kind[-1]), asked.splits, asked.bands, asked.keep_flagged)


def _add_pretrain(commands: Any) -> None:
    command = _command(commands, "pretrain", "learn without labels: DINO on one or more stores", _pretrain)
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE")
    command.add_argument("--run", type=Path, help="the run's folder (runs/<store>-<backbone>)")
    command.add_argument(
        "--preset", choices=list(PRESETS), default="reference", help="where the other defaults come from"
    )
    command.add_argument(
        "--splits",
        type=_names,
        default=("train", "validation", "none"),
        help="of the images to learn from; none: without split",
    )
    command.add_argument("--checkpoint-minutes", type=float, default=10.0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--dtype", choices=["auto", "bfloat16", "float32"], default="auto", help="auto: whichever is faster"
    )
    learning = command.add_argument_group("learning", "defaults come from the preset")
    kinds: dict[str, tuple[Any, str]] = {
        "backbone": (str, "timm's name of a VisionTransformer"),
        "patch_size": (int, "pixels of a token"),
        "image_size": (int, "that the model is served at"),
        "global_px": (int, "side of a global crop"),
        "local_px": (int, "side of a local crop"),
        "local_crops": (int, "for each image"),
        "global_scale": (_pair, "share of the area, from,to"),
        "local_scale": (_pair, "share of the area, from,to"),
        "recipe": (str, "of augmentation: overhead, reference"),
        "prototypes": (int, "outputs of the head"),
        "targets": (str, "of the teacher: centred, balanced"),
        "teacher_temperature": (float, "lower is sharper"),
        "optimizer": (str, "adamw, muon"),
        "learning_rate": (float, "for a batch of 256, scaled to the batch"),
        "weight_decay": (_pair, "first,last"),
        "momentum": (float, "of the teacher, first"),
        "batch": (int, "images a step"),
        "epochs": (float, "passes over the images"),
        "warm_up_epochs": (float, "of the learning rate"),
        "freeze_epochs": (float, "without gradient for the prototypes"),
        "drop_path": (float, "of the student"),
    }
    for name, (kind, about) in kinds.items():
        learning.add_argument(f"--{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, help=about)


def _pretrain(asked: argparse.Namespace) -> int:
    from training.dino import pretrain
    from training.runs import Run
    from training.stores.store import Store

    stores = [Store.open(path) for path in asked.stores]
    wanted = {None if split == "none" else split for split in asked.splits}
    positions = [store.of_split(*wanted) for store in stores]
    if len({(store.card.image_shape, store.card.bands) for store in stores}) > 1:
        raise ValueError("the stores differ in image size or bands; pretrain on one kind at a time")
    learning = {name: getattr(asked, name, value) for name, value in PRESETS[asked.preset].items()}
    run = Run(asked.run or Path("runs") / f"{stores[0].card.name}-{learning['backbone']}")
    begun = run.config() if (run.path / "config.json").exists() else None
    dtype = asked.dtype if asked.dtype != "auto" else begun["dtype"] if begun else pretrain.fastest_dtype()
    config = pretrain.Config(
        stores=tuple(store.card.name for store in stores),
        images=sum(map(len, positions)),
        bands=stores[0].card.bands,
        seed=asked.seed,
        dtype=dtype,
        **learning,
    )
    run.begin_or_continue(pretrain.config_record(config))
    pretraining = pretrain.Pretraining(run, config, stores, positions)
    pretraining.resume()
    pretraining.train(asked.checkpoint_minutes)
    print(f"{run.path}: {config.epochs:g} epochs done; curve in {run.curve}")
    return 0


def _add_probe(commands: Any) -> None:
    command = _command(commands, "probe", "fit a linear head on the frozen backbone", _probe)
    command.add_argument("store", type=Path, metavar="STORE")
    command.add_argument("--run", type=Path, required=True)
    command.add_argument(
        "--features", choices=["cls", "cls4"], default="cls", help="cls token of the last block, or of the last four"
    )


def _probe(asked: argparse.Namespace) -> int:
    from training.probe.train import probe
    from training.runs import Run
    from training.stores.store import Store

    result = probe(Run(asked.run), Store.open(asked.store), asked.features)
    reached = result["validation"]
    print(f"{asked.run}: validation macro AP {reached['macro']:.3f}, micro AP {reached['micro']:.3f}")
    for label in result["labels"]:
        told = " and ".join(label["supervision"]) or "none: answered null"
        print(f"  {label['name']}: {told}")
    return 0


def _add_evaluate(commands: Any) -> None:
    command = _command(commands, "evaluate", "compare representations on the test splits", _evaluate)
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE")
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--features", choices=["cls", "cls4"], default="cls")
    command.add_argument(
        "--rows", type=_names, default=("statistics", "untrained", "ours"),
        help="statistics, untrained, ours, and any name that timm can load with weights",
    )  # fmt: skip


def _evaluate(asked: argparse.Namespace) -> int:
    from training.dino import pretrain
    from training.files import write_json
    from training.probe import evaluate, representations
    from training.probe.train import FEATURES, teacher
    from training.runs import Run
    from training.stores.store import Store

    run = Run(asked.run)
    config = pretrain.Config.read(run)
    figures = pretrain.mean_and_std(len(config.bands))
    entries = []
    for row in asked.rows:
        if row == "statistics":
            representation: representations.Representation = representations.ImageStatistics()
        elif row == "untrained":
            blocks = FEATURES[asked.features]
            representation = representations.untrained(config.spec, len(config.bands), *figures, blocks)
        else:
            representation = teacher(run, asked.features) if row == "ours" else representations.Timm(row)
        entries += [evaluate.evaluate(representation, Store.open(path), run.features) for path in asked.stores]
    write_json(run.evaluation, entries)
    print(evaluate.table(entries))
    for entry in entries:
        if entry["representation"] == run.path.name and "per_label" in entry:
            print(f"\naverage precision on {entry['store']}, {entry['split']} split:")
            print(evaluate.per_label_table(entry))
    return 0


def _add_package(commands: Any) -> None:
    command = _command(commands, "package", "write the artifact of a run", _package)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--out", type=Path, help="an empty folder (<run>/artifact)")
    command.add_argument("--name", required=True)
    command.add_argument("--version", default="1")
    command.add_argument("--description", default="")
    command.add_argument(
        "--divisor", type=float, help="DN that becomes 255 when serving, if not that of the probe's store"
    )


def _package(asked: argparse.Namespace) -> int:
    from training.package import package
    from training.runs import Run

    run = Run(asked.run)
    made = package(run, asked.out or run.artifact, asked.name, asked.version, asked.description, asked.divisor)
    print(f"{made.path}: {made.manifest.name} {made.manifest.version}, sha256 {made.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

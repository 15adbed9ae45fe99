"""Makes the weights that the service serves, one command after the other:

    prepare    a store from BigEarthNet, EuroSAT or a folder of GeoTIFFs
    pretrain   DINO on stores, without labels
    probe      a linear head on the frozen backbone, for a labelled store
    evaluate   a table of representations on the test splits
    report     one page about the run, to look at
    package    the artifact
    refresh    all of these from pretrain on, and the artifact to where it is served, if it is not worse

Every command shows its progress and, killed and called again, goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # python training/run.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.dino.presets import OPTIONS, PAIR, PRESETS

EVALUATED = ("statistics", "untrained", "ours")

# Nothing heavy is imported here: --help must answer at once, and pretraining must not need rasterio.


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 when a command cannot do what it was asked, 2 for a wrong command line, 3 if the gate refuses."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed) or 0)
    except (OSError, ValueError) as error:
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
    _add_report(commands)
    _add_package(commands)
    _add_refresh(commands)
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
    about = "turn imagery into a store"
    kinds = commands.add_parser("prepare", help=about, description=about).add_subparsers(required=True, metavar="KIND")

    def kind(name: str, about: str, source: Any) -> argparse.ArgumentParser:
        command = _command(kinds, name, about, _prepare)
        command.set_defaults(source_of=source)
        command.add_argument("source", type=Path, help="where it lies; with --download, a folder for what is fetched")
        command.add_argument("--out", type=Path, required=True, help="the store's folder")
        return command

    for version in (1, 2):
        about = f"folders of patches of BigEarthNet v{version}, a GeoTIFF a band"
        ben = kind(f"bigearthnet-v{version}", about, _bigearthnet)
        ben.set_defaults(version=version)
        _add_bands(ben)
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
    _add_bands(own)
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


def _add_bands(command: argparse.ArgumentParser) -> None:
    command.add_argument("--bands", type=_names, default=("B04", "B03", "B02"), help="bands to keep, in this order")


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


def _prepare(asked: argparse.Namespace) -> int:
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


def _add_pretrain(commands: Any) -> None:
    command = _command(commands, "pretrain", "learn without labels: DINO on one or more stores", _pretrain)
    command.add_argument("--run", type=Path, help="the run's folder (runs/<store>-<backbone>)")
    _add_learning(command)


def _add_learning(command: argparse.ArgumentParser) -> None:
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="to pretrain on")
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
        "--init", default="", help="first weights of the backbone: a .pth or .safetensors file, or timm's name of some"
    )
    command.add_argument(
        "--dtype",
        choices=["auto", "bfloat16", "float32", "float64"],
        default="auto",
        help="auto: the faster of the first two; float64 to compare numbers",
    )
    command.add_argument("--knn-every", type=int, default=1, help="epochs between two looks at nearest neighbours")
    machine = command.add_argument_group("machine", "nothing here changes what is learnt")
    machine.add_argument(
        "--backend", choices=["auto", "nccl", "gloo", "smddp"], default="auto",
        help="over which processes talk that torchrun, OpenMPI or SageMaker started",
    )  # fmt: skip
    machine.add_argument("--compile", choices=["auto", "yes", "no"], default="auto", help="auto: on CUDA")
    learning = command.add_argument_group("learning", "defaults come from the preset")
    for name, (kind, about) in OPTIONS.items():
        known = {"choices": kind} if isinstance(kind, tuple) else {"type": _pair if kind is PAIR else kind}
        learning.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=about, **known)


def _learning(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(asked, name, value) for name, value in PRESETS[asked.preset].items()}


def _pretrain(asked: argparse.Namespace) -> int:
    from training import device, distributed
    from training.dino import pretrain
    from training.dino.config import Config
    from training.runs import Run
    from training.stores.store import SPLITS, Store

    stores = [Store.open(path) for path in asked.stores]
    if unknown := set(asked.splits) - {*SPLITS, "none"}:
        raise ValueError(f"no split is called {', '.join(sorted(unknown))}; there are {', '.join(SPLITS)} and none")
    wanted = {None if split == "none" else split for split in asked.splits}
    positions = [store.of_split(*wanted) for store in stores]
    if len({(store.card.image_shape, store.card.bands) for store in stores}) > 1:
        raise ValueError("the stores differ in image size or bands; pretrain on one kind at a time")
    learning = _learning(asked)
    run = Run(asked.run or Path("runs") / f"{stores[0].card.name}-{learning['backbone']}")

    def dtype() -> str:
        begun = run.config() if (run.path / "config.json").exists() else None
        return str(begun["dtype"]) if begun else device.fastest_dtype()

    with distributed.started(asked.backend) as workers:
        config = Config(
            stores=tuple(store.card.name for store in stores),
            images=sum(map(len, positions)),
            bands=stores[0].card.bands,
            seed=asked.seed,
            init=asked.init,
            dtype=workers.from_first(lambda: dtype().encode()).decode() if asked.dtype == "auto" else asked.dtype,
            **learning,
        )
        compiled = asked.compile == "yes" or (asked.compile == "auto" and workers.device.type == "cuda")
        pretraining = pretrain.Pretraining(run, config, stores, positions, workers, compiled)
        pretraining.begin()
        pretraining.train(asked.checkpoint_minutes, asked.knn_every)
        if workers.is_first:
            print(f"{run.path}: {config.epochs:g} epochs done; curve in {run.curve}")
    return 0


def _add_protocol(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--features", choices=["cls", "cls4"], default=argparse.SUPPRESS,
        help="cls token of the last block, or of the last four (default: cls, and cls4 with --fit reference)",
    )  # fmt: skip
    command.add_argument(
        "--fit", choices=["exact", "reference"], default="exact",
        help="L-BFGS with the best of some penalties, or DINO's protocol: SGD and a cosine over 100 epochs",
    )  # fmt: skip
    command.add_argument(
        "--balance", choices=["none", "inverse"], default="none",
        help="inverse: rare labels count more while they are learnt, and are brought back afterwards",
    )  # fmt: skip


def _protocol(asked: argparse.Namespace) -> tuple[str, Any]:
    """Features and protocol that were asked for."""
    from training.probe.protocol import Protocol

    kind = getattr(asked, "features", "cls4" if asked.fit == "reference" else "cls")
    return kind, Protocol(asked.fit, asked.balance)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not over 0 and up to 1")
    return share


def _add_probe(commands: Any) -> None:
    command = _command(commands, "probe", "fit a linear head on the frozen backbone", _probe)
    command.add_argument("store", type=Path, metavar="STORE")
    command.add_argument("--run", type=Path, required=True)
    _add_head(command)


def _add_head(command: argparse.ArgumentParser) -> None:
    _add_protocol(command)
    command.add_argument(
        "--precision", type=_share, default=argparse.SUPPRESS,
        help="list a label from the lowest probability on with which it is right this often on the validation split, "
        "such as 0.9, and never where there is none (default: from that of the best F1 on)",
    )  # fmt: skip


def _probe(asked: argparse.Namespace) -> int:
    from training.probe.train import probe
    from training.runs import Run
    from training.stores.store import Store

    result = probe(Run(asked.run), Store.open(asked.store), *_protocol(asked), getattr(asked, "precision", None))
    reached = result["validation"]
    print(f"{asked.run}: validation macro AP {reached['macro']:.3f}, micro AP {reached['micro']:.3f}")
    for part in (*result["labels"], *result["groups"]):
        told = " and ".join(part.get("supervision", ["any of its members"])) or "none: answered null"
        told += "" if part["threshold"] is None else f", listed from {part['threshold']:.3f} on"
        print(f"  {part['name']}: {told}")
    return 0


def _add_evaluate(commands: Any) -> None:
    command = _command(commands, "evaluate", "compare representations on the test splits", _evaluate)
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE")
    command.add_argument("--run", type=Path, required=True)
    _add_protocol(command)
    command.add_argument(
        "--rows", type=_names, default=EVALUATED,
        help="statistics; untrained; supervised, which is trained first, with the labels of the first store that has "
        "any; ours; the folder of another run or of an artifact; a .pth or .safetensors file; any name that timm has "
        "weights of",
    )  # fmt: skip


def _evaluate(asked: argparse.Namespace) -> int:
    from training.files import write_json
    from training.probe import evaluate, rows
    from training.probe.train import require_bands
    from training.runs import Run
    from training.stores.store import Store

    run = Run(asked.run)
    kind, protocol = _protocol(asked)
    stores = [Store.open(path) for path in asked.stores]
    for store in stores:
        require_bands(run, store)
    entries = []
    for row in asked.rows:
        representation = rows.representation(row, run, stores, kind)
        entries += [evaluate.evaluate(representation, store, run.features, protocol) for store in stores]
    write_json(run.evaluation, entries)
    print(evaluate.table(entries))
    for entry in entries:
        if entry["representation"] == run.path.name and "per_label" in entry:
            print(f"\naverage precision on {entry['store']}, {entry['split']} split:")
            print(evaluate.per_label_table(entry))
    return 0


def _add_report(commands: Any) -> None:
    command = _command(commands, "report", "write one HTML page about the run", _report)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument(
        "--stores", type=Path, nargs="+", metavar="STORE", help="whose patches are shown (that of the probe)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="the page (<run>/report/index.html)")


def _report(asked: argparse.Namespace) -> int:
    from training.report import page
    from training.runs import Run
    from training.stores.store import Store

    run = Run(asked.run)
    stores = [Store.open(path) for path in asked.stores] if asked.stores else page.of_probe(run)
    page.write(run, stores, asked.out or run.report)
    print(f"{asked.out or run.report}: a page about {run.path.name}")
    return 0


def _add_package(commands: Any) -> None:
    command = _command(commands, "package", "write the artifact of a run", _package)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--out", type=Path, help="an empty folder (<run>/artifact)")
    _add_naming(command)


def _add_naming(command: argparse.ArgumentParser) -> None:
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
    if asked.out is None:
        shutil.rmtree(run.artifact, ignore_errors=True)  # of an earlier probe or evaluation
    made = package(run, asked.out or run.artifact, asked.name, asked.version, asked.description, asked.divisor)
    print(f"{made.path}: {made.manifest.name} {made.manifest.version}, sha256 {made.sha256}")
    return 0


#: Options of refresh that a continued one may be told otherwise: nothing in them changes the artifact.
_FREE = {"command", "run", "model_dir", "accept", "backend", "compile", "checkpoint_minutes", "knn_every"}


def _add_refresh(commands: Any) -> None:
    about = "pretrain, probe, evaluate, package; then put the artifact where it is served, unless it is worse (exit 3)"
    command = _command(commands, "refresh", about, _refresh)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--probe-store", type=Path, required=True, metavar="STORE", help="with labels and all splits")
    command.add_argument(
        "--model-dir", type=Path, default=os.environ.get("MODEL_DIR") or None,
        help="where it is served; what was there is kept beside it, as DIR.previous",
    )  # fmt: skip
    command.add_argument("--accept", action="store_true", help="put it in place whatever the gate says")
    _add_naming(command)
    _add_head(command)
    _add_learning(command)


def _refresh(asked: argparse.Namespace) -> int:
    from training import refresh
    from training.distributed import Place
    from training.runs import Run
    from training.stores.store import Store

    run, store = Run(asked.run), Store.open(asked.probe_store)
    if asked.model_dir is None:
        raise ValueError("where is it served? Say --model-dir, or set MODEL_DIR")
    if asked.model_dir.resolve() == run.artifact.resolve():
        raise ValueError(f"{asked.model_dir} is where the run makes its artifact; serve another folder")
    is_first, learning = Place.read().rank == 0, {**_learning(asked), "seed": asked.seed}
    if is_first:
        created = [Store.open(path).created for path in (*asked.stores, asked.probe_store)]
        said = {key: value for key, value in vars(asked).items() if key not in _FREE} | learning | {"created": created}
        refresh.begin(run, *(json.loads(json.dumps(part, default=str)) for part in (said, learning)))
    if not refresh.is_pretrained(run):
        _pretrain(asked)
    if not is_first:
        return 0
    own = {"store": asked.probe_store, "stores": [asked.probe_store], "rows": EVALUATED, "out": None}
    later = argparse.Namespace(**vars(asked) | own)
    made = refresh.chain(run)
    for source, result, stage in zip(made, made[1:], (_probe, _evaluate, _package), strict=False):
        if not refresh.is_made(result, source):
            stage(later)
    verdict = refresh.judge(run, store, asked.model_dir)
    print(f"gate: {verdict.reason}")
    if not verdict.passed and not asked.accept:
        told = f"{asked.model_dir} is left as it was; the candidate is {run.artifact}"
        print(f"refused: {told}. --accept puts it in place all the same", file=sys.stderr)
        return 3
    print(refresh.put_in_place(run, asked.model_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())

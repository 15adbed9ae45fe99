"""`serve`: what the container runs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from service import logs, server
from service.commands import environment
from service.model import artifact

log = logging.getLogger("service")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 after a drained stop, 1 if the service cannot serve, 2 for a wrong command line or setting."""
    about = "Answer HTTP requests; settings come from the environment. " + (main.__doc__ or "")
    argparse.ArgumentParser(prog="python -m service serve", description=about).parse_args(arguments)
    settings = environment.settings()
    logs.configure(settings.log_level, settings.log_format)
    log.info("settings %s", settings.model_dump_json())
    try:
        loaded = artifact.load(settings.model_source)
    except artifact.ArtifactError as error:
        log.error("cannot serve: %s", error)
        return 1
    manifest = loaded.manifest
    log.info("model %s %s, sha256 %s", manifest.name, manifest.version, loaded.sha256)
    return server.serve(loaded, settings)

"""`serve`: what the container runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from service import logs, server
from service.model import artifact
from service.settings import Settings

log = logging.getLogger("service")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 after a drained stop, 1 if the service cannot serve, 2 for a wrong command line or setting."""
    about = "Answer HTTP requests; settings come from the environment. " + (main.__doc__ or "")
    argparse.ArgumentParser(prog="python -m service serve", description=about).parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for wrong in error.errors():
            if wrong["type"] == "default_factory_not_called":  # a setting that was not given, for want of this one
                continue
            name = "".join(map(str, wrong["loc"])).upper()
            print(f"setting {name}: {wrong['msg']}" if name else wrong["msg"], file=sys.stderr)
        return 2
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

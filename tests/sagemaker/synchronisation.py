"""A folder kept in S3 while a job runs, as checkpoints and continuous outputs are."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tests.sagemaker.storage import DownloadFailed, Storage

EVERY_S = 0.3


class Synchronisation:
    """Brings what is in S3 once, then sends what is new or changed. What is deleted here stays there."""

    def __init__(self, storage: Storage, folder: Path, uri: str | None, bring: bool = True) -> None:
        self.storage, self.folder, self.uri = storage, folder, uri
        self._known: dict[str, tuple[int, int]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        if uri is None:
            return
        if bring:
            with contextlib.suppress(DownloadFailed):  # the first time there is nothing
                storage.download(storage.find(uri), folder)
        self._known = self._state()
        self._thread.start()

    def close(self, last: bool = True) -> None:
        """Ends it; what is there is sent, unless the instance has gone."""
        self._closing.set()
        if self.uri is not None:
            self._thread.join()
            if last:
                self._send()

    def _keep(self) -> None:
        while not self._closing.wait(EVERY_S):
            self._send()

    def _state(self) -> dict[str, tuple[int, int]]:
        found = {}
        for file in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # renamed or deleted while we look
                if file.is_file():
                    state = file.stat()
                    found[str(file.relative_to(self.folder))] = (state.st_mtime_ns, state.st_size)
        return found

    def _send(self) -> None:
        assert self.uri is not None
        for name, state in self._state().items():
            if self._known.get(name) != state:
                with contextlib.suppress(FileNotFoundError):
                    self.storage.upload(self.folder / name, f"{self.uri.rstrip('/')}/{name}")
                    self._known[name] = state

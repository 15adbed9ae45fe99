"""A job as it runs: the lines of its log from all hosts, and how busy its machines are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.account import Account
from deploy.running import ENDED, Kind, described

FIRST_S, LONGEST_S, GROWTH = 0.3, 3.0, 1.2
LAST_LINES_S = 1.5  # CloudWatch gets a job's last lines a little after its end
USE = ("GPUUtilization", "GPUMemoryUtilization", "CPUUtilization", "MemoryUtilization")  #: percent; CPUs add up


@dataclass(frozen=True)
class Line:
    """A line of a log."""

    at: datetime
    host: str  #: algo-1, …
    text: str


@dataclass
class Log:
    """What a job logs, read on from where it was read before."""

    account: Account
    kind: Kind
    job: str
    _tokens: dict[str, str] = field(default_factory=dict)  #: by stream

    def new(self) -> list[Line]:
        """Lines that came since, in the order in which they were written."""
        lines = [line for stream in self._streams() for line in self._lines(stream)]
        return sorted(lines, key=lambda line: line.at)

    def _streams(self) -> list[str]:
        logs = self.account.client("logs")
        pages = logs.get_paginator("describe_log_streams")
        try:
            found = pages.paginate(logGroupName=self.kind.group, logStreamNamePrefix=f"{self.job}/")
            return [stream["logStreamName"] for page in found for stream in page["logStreams"]]
        except logs.exceptions.ResourceNotFoundException:  # before the first job of the account logs
            return []

    def _lines(self, stream: str) -> Iterator[Line]:
        logs, host = self.account.client("logs"), stream.partition("/")[2].rpartition("-")[0] or stream
        while True:
            known = self._tokens.get(stream)
            asked: dict[str, Any] = {"nextToken": known} if known else {}
            answer = logs.get_log_events(
                logGroupName=self.kind.group, logStreamName=stream, startFromHead=True, **asked
            )
            for event in answer["events"]:
                yield Line(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), host, event["message"])
            self._tokens[stream] = answer["nextForwardToken"]
            if not answer["events"] or answer["nextForwardToken"] == known:
                return


def until_ended(account: Account, kind: Kind, job: str) -> Iterator[tuple[Any, list[Line]]]:
    """How a job stands and what it logged since, again and again; the last is how it ended."""
    log, pause = Log(account, kind, job), FIRST_S
    while True:
        said = described(account, kind, job)
        yield said, log.new()
        if kind.status(said) in ENDED:
            break
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_S)
    time.sleep(LAST_LINES_S)
    yield said, log.new()


def use(
    account: Account, kind: Kind, job: str, hosts: list[str], since: datetime
) -> dict[str, list[tuple[datetime, float]]]:
    """Percent over time, by metric, as the mean over hosts; those that nobody measures are left out."""
    wanted = [
        {
            "Id": f"m{number}_{place}",
            "Label": metric,
            "MetricStat": {
                "Metric": {
                    "Namespace": kind.group,
                    "MetricName": metric,
                    "Dimensions": [{"Name": "Host", "Value": f"{job}/{host}"}],
                },
                "Period": 60,
                "Stat": "Average",
            },
        }
        for number, metric in enumerate(USE)
        for place, host in enumerate(hosts)
    ]
    if not wanted:
        return {}
    pages = account.client("cloudwatch").get_paginator("get_metric_data")
    until = datetime.now(UTC) + timedelta(minutes=1)
    seen: dict[str, dict[datetime, list[float]]] = {}
    for page in pages.paginate(MetricDataQueries=wanted, StartTime=since, EndTime=until, ScanBy="TimestampAscending"):
        for result in page["MetricDataResults"]:
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                seen.setdefault(result["Label"], {}).setdefault(at, []).append(value)
    return {metric: sorted((at, sum(some) / len(some)) for at, some in found.items()) for metric, found in seen.items()}

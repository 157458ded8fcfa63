"""Figures: what the benchmarks say of the machine, of processes and of many measurements."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg


def describe_machine(url: str) -> dict[str, Any]:
    with psycopg.connect(url) as conn:
        version = read(conn, "show server_version")
        fsync = read(conn, "show fsync")
    cores, memory = os.cpu_count(), psutil.virtual_memory().total // 2**30
    python = platform.python_version()
    return {"cores": cores, "memory_gb": memory, "python": python, "postgres": version, "fsync": fsync}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(values)}


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def postgres_cpu_seconds(conn: psycopg.Connection) -> float:
    """What the server has used until now, with all of its processes, those that have ended too."""
    postmaster = psutil.Process(psutil.Process(conn.info.backend_pid).ppid())
    used = sum(postmaster.cpu_times()[:4])
    for process in postmaster.children():
        try:
            used += cpu_seconds([process])
        except psutil.NoSuchProcess:
            continue
    return float(used)


def peak_mb(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def read(conn: psycopg.Connection, query: str, *values: object) -> Any:
    """The first column of the first row."""
    row = conn.execute(query.encode(), values or None).fetchone()
    assert row is not None
    return row[0]


def rounded(value: Any) -> Any:
    """The same with four digits of each float."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value

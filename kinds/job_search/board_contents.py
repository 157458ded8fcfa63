"""What the `BoardServer` has to show, by reference: hand-written samples, or bodies recorded from the services."""

import json
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

from kinds.job_search.board_formats import FORMATS

SAMPLES = Path(__file__).with_name("samples")
RECORDED = Path("jobs", "greenhouse_history", "boards.tar.xz")
STREAMER = Path("jobs", "recorded", "aws-job-streamer")
LCARLINI = Path("jobs", "recorded", "lcarlini")


def sample_boards() -> dict[str, Any]:
    """The hand-written boards and feeds of every format."""
    return {
        known.reference(path.stem): _read(path)
        for known in FORMATS
        for path in sorted(SAMPLES.glob(f"{known.source}.json" if known.is_feed else f"{known.source}/*.json"))
    }


def recorded_boards(data: Path, day: date) -> dict[str, Any]:
    """Every recorded board: Greenhouse's as of that day, the others as they are; `data` is `FOXTROT_DATA`."""
    return recorded_greenhouse(data, day) | _recorded_once(data)


def recorded_greenhouse(data: Path, day: date) -> dict[str, Any]:
    """Every recorded Greenhouse board as its last snapshot of that day or an earlier one has it."""
    newest: dict[str, tuple[str, bytes]] = {}
    with tarfile.open(data / RECORDED) as archive:
        for member in archive:
            board, _, name = member.name.partition("/")
            content = archive.extractfile(member)
            if content is not None and newest.get(board, ("", b""))[0] < name[:19] and name[:10] <= day.isoformat():
                newest[board] = (name[:19], content.read())
    return {board: json.loads(body) for board, (_, body) in newest.items()}


def _recorded_once(data: Path) -> dict[str, Any]:
    """What has no history. Some of it was kept without what an answer has around its rows: that is put back."""
    remotive = _read(data / STREAMER / "remotive_jobs.json")
    jobs = remotive["jobs"] + _read(data / LCARLINI / "raw_remotive.json")["jobs"]
    return {
        "lever:spotify": _read(data / STREAMER / "lever_postings.json"),
        "ashby:ramp": _read(data / STREAMER / "ashby_jobs.json"),
        "ashby:truelogic": {"apiVersion": "1", **_read(data / LCARLINI / "raw_ashby.json")},
        "remotive": {**remotive, "job-count": len(jobs), "jobs": jobs},
        "arbeitnow": _read(data / LCARLINI / "raw_arbeitnow.json"),
        "remoteok": _read(data / LCARLINI / "raw_remoteok.json"),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))

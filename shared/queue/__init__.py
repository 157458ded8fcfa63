"""The queue's verbs: one a file, its statement beside it. They take the caller's connection and never commit."""

from shared.queue.cancel import Cancelled, cancel
from shared.queue.claim import Claimed, Watermark, claim
from shared.queue.disagreements import Disagreement, Mend, disagreements, repair
from shared.queue.enqueue import Enqueued, NewRun, enqueue, enqueue_many, find_reusable
from shared.queue.expand import Expanded, expand
from shared.queue.expire import expire
from shared.queue.fence import Fence
from shared.queue.finish import Outcome, Recorded, finish
from shared.queue.progress import Said, progress
from shared.queue.release import held_by, release
from shared.queue.rescue import Rescued, rescue
from shared.queue.retry import FailedAttempt, retry
from shared.queue.snooze import Snoozed, snooze
from shared.queue.steps import StepValue, find_step, record_step
from shared.queue.workers import ReadWorker, leave, list_workers, mark_stopping, register, renew

__all__ = [
    "Cancelled",
    "Claimed",
    "Disagreement",
    "Enqueued",
    "Expanded",
    "FailedAttempt",
    "Fence",
    "Mend",
    "NewRun",
    "Outcome",
    "ReadWorker",
    "Recorded",
    "Rescued",
    "Said",
    "Snoozed",
    "StepValue",
    "Watermark",
    "cancel",
    "claim",
    "disagreements",
    "enqueue",
    "enqueue_many",
    "expand",
    "expire",
    "find_reusable",
    "find_step",
    "finish",
    "held_by",
    "leave",
    "list_workers",
    "mark_stopping",
    "progress",
    "record_step",
    "register",
    "release",
    "renew",
    "repair",
    "rescue",
    "retry",
    "snooze",
]

"""The fingerprint: what makes two requests the same work. At most one live run per user and fingerprint."""

import json
import unicodedata
from datetime import UTC, datetime
from hashlib import sha256

from pydantic import BaseModel

LENGTH = 16


def fingerprint(kind: str, org_id: str | None, parameters: BaseModel, slot: datetime | None = None) -> bytes:
    """16 bytes of SHA-256 over kind, org and canonical parameters; a backfill adds its slot.

    Parameters that were left out and parameters that repeat a default are the same; so are two spellings of one
    Unicode text (NFC), and keys in any order.
    """
    asked = parameters.model_dump(mode="json", exclude_defaults=True)
    whole = [kind, org_id, asked, slot.astimezone(UTC).isoformat() if slot else None]
    composed = unicodedata.normalize("NFC", json.dumps(whole, ensure_ascii=False))
    canonical = json.dumps(json.loads(composed), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(canonical.encode()).digest()[:LENGTH]


def digest_model(model: type[BaseModel]) -> bytes:
    """16 bytes of SHA-256 over the model's JSON schema: another when its fields, their types or defaults change.

    What code does to values (validators, serializers, default factories) is not in it.
    """
    canonical = json.dumps(model.model_json_schema(), sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).digest()[:LENGTH]

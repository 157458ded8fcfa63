"""Me: who the caller is here, and which zone they are in."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Process, Visited
from shared.schedules import Rules, move_user
from shared.users import read_user

router = APIRouter(prefix="/me", tags=["me"])


class Me(BaseModel):
    """The caller."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    org_id: str | None
    email: str | None
    zone: str | None = Field(description="Where they are; null until somebody has said so.", examples=["Europe/London"])
    last_seen_at: datetime | None


class MeRequest(BaseModel):
    """What the caller says about themselves."""

    model_config = ConfigDict(extra="forbid")

    zone: str = Field(examples=["Europe/London"])


class MovedMe(Me):
    """The caller, in another zone."""

    moved: int = Field(description="How many schedules have moved with them: those whose zone is `user`.")


@router.get("", summary="Read who you are")
async def read_me(db: Visited) -> Me:
    """The caller, as their token and they themselves have said."""
    return Me.model_validate(await db.transact(lambda conn: read_user(conn, db.user_id)))


@router.put("", summary="Say which zone you are in")
async def put_me(body: MeRequest, db: Visited, process: Process) -> MovedMe:
    """Move to a zone. Schedules whose zone is `user` keep their times of day, there from now on."""
    rules = Rules.of(process.settings)
    moved = await db.transact(lambda conn: move_user(conn, db.user_id, body.zone, rules=rules))
    me = await db.transact(lambda conn: read_user(conn, db.user_id))
    return MovedMe(**Me.model_validate(me).model_dump(), moved=moved)

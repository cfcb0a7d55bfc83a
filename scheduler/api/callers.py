"""Who asks: the dependencies that routes name to say what they take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from scheduler.api.face import Face, face_of
from scheduler.api.problems import ProblemError
from scheduler.api.tokens import ANYBODY, Caller, Tokens

#: For the description only: ``caller_of`` reads the header.
_bearer = HTTPBearer(auto_error=False, description="A token made by `scheduler token new`. Not needed where none is configured.")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def caller_of(request: Request, face: Face, scope: str, *, everybody: bool = False) -> Caller:
    """Who asks, if his token allows ``scope``; ``everybody``: only if it is bound to no owner. Raises ``ProblemError``."""
    caller = await _known(request, face.tokens) if face.tokens.needed else ANYBODY
    if not caller.may(scope):
        raise ProblemError(403, f"the token's scope is {caller.scope!r}, this takes {scope!r}")
    if everybody and caller.owner is not None:
        raise ProblemError(403, "the token is bound to an owner, this is about everybody's jobs")
    return caller


async def _known(request: Request, tokens: Tokens) -> Caller:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise ProblemError(401, "send a token: Authorization: Bearer …", headers=_CHALLENGE)
    caller = tokens.caller(token.strip())
    if caller is None:
        await tokens.slow_down(request.client.host if request.client else "")
        raise ProblemError(401, "the token is not known here", headers=_CHALLENGE)
    return caller


def requires(scope: str, *, everybody: bool = False) -> Callable[..., Awaitable[Caller]]:
    """``caller_of`` as a dependency."""

    async def allowed(request: Request, described: Annotated[Any, Security(_bearer)]) -> Caller:
        return await caller_of(request, await face_of(request), scope, everybody=everybody)

    return allowed


Reads = Annotated[Caller, Depends(requires("read"))]
Writes = Annotated[Caller, Depends(requires("write"))]
ReadsAll = Annotated[Caller, Depends(requires("read", everybody=True))]
Operates = Annotated[Caller, Depends(requires("operate", everybody=True))]
#: For routes that ask by themselves: says that they take a token.
TAKES_TOKEN = Security(_bearer)

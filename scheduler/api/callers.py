"""Who asks: the dependencies that routes name to say what they take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from scheduler.api.face import Face, face_of
from scheduler.api.problems import ProblemError
from scheduler.api.tokens import ANYBODY, Caller, Tokens

_bearer = HTTPBearer(auto_error=False, description="A token made by `scheduler token new`. Not needed where none is configured.")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def requires(scope: str, *, everybody: bool = False) -> Callable[..., Awaitable[Caller]]:
    """A dependency that gives the caller if its token allows ``scope``; ``everybody``: only if it is bound to no owner."""

    async def allowed(
        request: Request,
        face: Annotated[Face, Depends(face_of)],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        caller = await _caller(request, face.tokens, credentials)
        if not caller.may(scope):
            raise ProblemError(403, f"the token's scope is {caller.scope!r}, this takes {scope!r}")
        if everybody and caller.owner is not None:
            raise ProblemError(403, "the token is bound to an owner, this is about everybody's jobs")
        return caller

    return allowed


async def _caller(request: Request, tokens: Tokens, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    if not tokens.needed:
        return ANYBODY
    if credentials is None:
        raise ProblemError(401, "send a token: Authorization: Bearer …", headers=_CHALLENGE)
    caller = tokens.caller(credentials.credentials)
    if caller is None:
        await tokens.slow_down(request.client.host if request.client else "")
        raise ProblemError(401, "the token is not known here", headers=_CHALLENGE)
    return caller


Reads = Annotated[Caller, Depends(requires("read"))]
Writes = Annotated[Caller, Depends(requires("write"))]
ReadsAll = Annotated[Caller, Depends(requires("read", everybody=True))]
Operates = Annotated[Caller, Depends(requires("operate", everybody=True))]

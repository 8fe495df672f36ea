"""The token that clients must send."""

import hmac

from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection

from crossmodal.apps.serve.limits import RequestError


class Token(HTTPBearer):
    """FastAPI dependency that checks ``Authorization: Bearer ...``."""

    def __init__(self, value: str) -> None:
        super().__init__(scheme_name="HTTPBearer", auto_error=False)
        self._value = value.encode()

    async def __call__(self, connection: HTTPConnection) -> None:
        """Raise RequestError unless the header of a request or a WebSocket has the right token."""
        scheme, token = get_authorization_scheme_param(connection.headers.get("authorization"))
        self.check(token if scheme.lower() == "bearer" else "")

    def check(self, token: str) -> None:
        """Raise RequestError unless a token is right. The comparison takes constant time."""
        if not hmac.compare_digest(token.encode(errors="backslashreplace"), self._value):
            raise RequestError(401, "unauthorized", "this server requires a token: send `Authorization: Bearer TOKEN`")

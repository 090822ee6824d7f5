"""Every error that the live server raises on purpose.

    HeadcastError
    ├── BadRequest            400  the request cannot be read
    ├── Unauthorized          401  does not say who asks, or says it with a token that is not known; carries `challenge`
    ├── Forbidden             403  may not be done, or not by whoever asks
    ├── NotFound              404  no such session, avatar or page
    ├── RequestTimeout        408  what was announced did not come
    ├── Conflict              409  cannot be done in the state that things are in
    │   └── NotAccepted       409  signed by somebody who is not believed here; carries the key
    ├── PreconditionFailed    412  made for another state of what it changes
    ├── PayloadTooLarge       413
    ├── UnsupportedMediaType  415
    ├── MisdirectedRequest    421  meant for a server of another name
    ├── Unprocessable         422  well-formed, but cannot be done (an SDP without video, say)
    ├── PreconditionRequired  428  does not say which state it was made for
    ├── RendererLost          500  the process that rendered a session has ended or hangs
    ├── TryLater                   carries `retry_after_s`
    │   ├── TooManyRequests   429
    │   └── ServerFull        503  every session slot is taken
    ├── Unavailable           503  something that it needs does not answer
    └── InsufficientStorage   507  the disk is full

A message says what was expected, what came, and what to do; it never holds an SDP, an address or a face.
"""

from __future__ import annotations


class HeadcastError(Exception):
    """Base of all; `status` is the HTTP status that it is answered with, `title` its short name."""

    status = 500
    title = "Internal error"

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the answer."""
        return {}


class BadRequest(HeadcastError):
    status = 400
    title = "Bad request"


class Unauthorized(HeadcastError):
    """Answered with a challenge (RFC 6750, section 3); `error` is its code, where a token was wrong."""

    status = 401
    title = "Unauthorized"

    def __init__(self, message: str, error: str | None = None) -> None:
        super().__init__(message)
        self._error = error

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="Headcast"' + (f', error="{self._error}"' if self._error else "")}


class Forbidden(HeadcastError):
    status = 403
    title = "Forbidden"


class RoleLacking(Forbidden):
    """May be done by others, not in the role of whoever asks (RFC 6750, section 3.1)."""

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="Headcast", error="insufficient_scope"'}


class NotFound(HeadcastError):
    status = 404
    title = "Not found"


class RequestTimeout(HeadcastError):
    status = 408
    title = "Request timeout"


class Conflict(HeadcastError):
    status = 409
    title = "Conflict"


class NotAccepted(Conflict):
    """Signed by a key that is not believed here; `Headcast-Signer` names it, so that the owner can be asked."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self._key = key

    @property
    def headers(self) -> dict[str, str]:
        return {"Headcast-Signer": self._key}


class PreconditionFailed(HeadcastError):
    status = 412
    title = "Precondition failed"


class PayloadTooLarge(HeadcastError):
    status = 413
    title = "Payload too large"


class UnsupportedMediaType(HeadcastError):
    status = 415
    title = "Unsupported media type"


class MisdirectedRequest(HeadcastError):
    status = 421
    title = "Misdirected request"


class Unprocessable(HeadcastError):
    status = 422
    title = "Unprocessable content"


class PreconditionRequired(HeadcastError):
    status = 428
    title = "Precondition required"


class TryLater(HeadcastError):
    """Base of what a client may try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class TooManyRequests(TryLater):
    status = 429
    title = "Too many requests"


class Unavailable(HeadcastError):
    status = 503
    title = "Unavailable"


class InsufficientStorage(HeadcastError):
    status = 507
    title = "Insufficient storage"


class ServerFull(TryLater):
    status = 503
    title = "Server full"


class RendererLost(HeadcastError):
    """Whatever was asked of it was not done; another one can be made."""

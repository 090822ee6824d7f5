"""Every error that the live server raises on purpose.

    HeadcastError
    ├── BadRequest            400  the request cannot be read
    ├── Forbidden             403  may not be done, or not by whoever asks
    ├── NotFound              404  no such session, avatar or page
    ├── RequestTimeout        408  what was announced did not come
    ├── Conflict              409  cannot be done in the state that things are in
    ├── PreconditionFailed    412  made for another state of what it changes
    ├── PayloadTooLarge       413
    ├── UnsupportedMediaType  415
    ├── Unprocessable         422  well-formed, but cannot be done (an SDP without video, say)
    ├── PreconditionRequired  428  does not say which state it was made for
    ├── ServerFull            503  every session slot is taken; carries `retry_after_s`
    ├── Unavailable           503  something that it needs does not answer
    └── InsufficientStorage   507  the disk is full

A message says what was expected, what came, and what to do; it never holds an SDP, an address or a face.
"""

from __future__ import annotations


class HeadcastError(Exception):
    """Base of all; `status` is the HTTP status that it is answered with, `title` its short name."""

    status = 500
    title = "Internal error"


class BadRequest(HeadcastError):
    status = 400
    title = "Bad request"


class Forbidden(HeadcastError):
    status = 403
    title = "Forbidden"


class NotFound(HeadcastError):
    status = 404
    title = "Not found"


class RequestTimeout(HeadcastError):
    status = 408
    title = "Request timeout"


class Conflict(HeadcastError):
    status = 409
    title = "Conflict"


class PreconditionFailed(HeadcastError):
    status = 412
    title = "Precondition failed"


class PayloadTooLarge(HeadcastError):
    status = 413
    title = "Payload too large"


class UnsupportedMediaType(HeadcastError):
    status = 415
    title = "Unsupported media type"


class Unprocessable(HeadcastError):
    status = 422
    title = "Unprocessable content"


class PreconditionRequired(HeadcastError):
    status = 428
    title = "Precondition required"


class Unavailable(HeadcastError):
    status = 503
    title = "Unavailable"


class InsufficientStorage(HeadcastError):
    status = 507
    title = "Insufficient storage"


class ServerFull(HeadcastError):
    status = 503
    title = "Server full"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

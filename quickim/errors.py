"""The code table of the wire contract: one class per row; the first docstring line is the text a client reads.

Raised anywhere below the doors, translated in one place per door (``quickim.rest.answers`` for HTTP and calls over
WebSocket, ``gateway.wire.refusal`` for connections). ``detail`` names offending fields, never their values.
"""

from typing import Any, ClassVar


class QuickimError(Exception):
    """internal service call failed"""

    code: ClassVar[int] = 10002
    status: ClassVar[int] = 500

    def __init__(self, detail: dict[str, Any] | None = None, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(self.text())
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def text(cls) -> str:
        """The contract's wording of this error."""
        return (cls.__doc__ or "").partition("\n")[0]


class InvalidParameter(QuickimError):
    """invalid parameter"""

    code, status = 10001, 400

    @classmethod
    def field(cls, name: str, problem: str) -> "InvalidParameter":
        """The common case: one field ``name`` and what is wrong with it."""
        return cls({name: problem})


class InternalError(QuickimError):
    """internal service call failed"""

    code, status = 10002, 500


class Unavailable(QuickimError):
    """internal service call failed

    The database is away, the queue is full or an append took too long. Nothing was acknowledged; the caller may repeat.
    """

    code, status = 10002, 503

    def __init__(self, detail: dict[str, Any] | None = None, *, retry_after_seconds: float = 1) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)


class OutcomeUnknown(Unavailable):
    """internal service call failed

    The commit was sent and no answer came back: the message may be stored. A repeat with the same client_msg_id tells.
    """


class NotAllowed(QuickimError):
    """not allowed request"""

    code, status = 10003, 403


class UnknownInterface(QuickimError):
    """no such interface"""

    code, status = 10004, 404


class MethodNotAllowed(QuickimError):
    """method not allowed"""

    code, status = 10005, 405


class BodyTooLarge(QuickimError):
    """body too large"""

    code, status = 10006, 413


class TooManyRequests(QuickimError):
    """too many requests"""

    code, status = 10007, 429


class RateExceeded(TooManyRequests):
    """too many requests

    A token bucket is empty, or an address has as many connections as it may: the caller may repeat a little later.
    """


class InvalidToken(QuickimError):
    """invalid token"""

    code, status = 10101, 401


class TokenRevoked(InvalidToken):
    """invalid token

    It was good before it was revoked.
    """

    def __init__(self) -> None:
        super().__init__({"token": "was revoked"})


class ConversationTypeOutOfRange(QuickimError):
    """conversation type out of range"""

    code, status = 90010, 400


class NoSessions(QuickimError):
    """conversation contains at least one user"""

    code, status = 90011, 400


class UnsupportedDriver(QuickimError):
    """unsupported driver"""

    code, status = 90013, 400


class ConversationNotFound(QuickimError):
    """conversation not found"""

    code, status = 90014, 404


class NotMember(QuickimError):
    """not a member of the conversation"""

    code, status = 90015, 403


class ConversationArchived(QuickimError):
    """conversation is archived"""

    code, status = 90016, 409


class RemovedFromConversation(QuickimError):
    """removed from the conversation"""

    code, status = 90018, 403


class ClientMsgIdReused(QuickimError):
    """client_msg_id already used with another message"""

    code, status = 90019, 409


ALL_ERRORS: tuple[type[QuickimError], ...] = (
    InvalidParameter,
    InternalError,
    Unavailable,
    NotAllowed,
    UnknownInterface,
    MethodNotAllowed,
    BodyTooLarge,
    TooManyRequests,
    InvalidToken,
    ConversationTypeOutOfRange,
    NoSessions,
    UnsupportedDriver,
    ConversationNotFound,
    NotMember,
    ConversationArchived,
    RemovedFromConversation,
    ClientMsgIdReused,
)

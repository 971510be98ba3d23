"""Who calls: the identity that every endpoint receives, whichever door and whichever credential it came by."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Caller:
    """A session on a platform, or the system (session ``""``) for the product's own back end."""

    session: str
    platform: int

    SYSTEM: ClassVar["Caller"]

    @property
    def is_system(self) -> bool:
        """Whether this is the product's back end and no user of it."""
        return not self.session


Caller.SYSTEM = Caller("", 0)

"""Which avatars only their own person may drive, and whether this machine can tell who that is."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from models.errors import MissingAsset
from realtime.config import ConfigError, LockPolicy

if TYPE_CHECKING:
    from models.avatar_parts import Consent

logger = logging.getLogger(__name__)


def own_driver_only(consent: Consent, policy: LockPolicy) -> bool:
    """Whether nobody but the person shown may drive an avatar. Synthetic people are nobody."""
    if consent.synthetic or policy is LockPolicy.OFF:
        return False
    return policy is LockPolicy.ALL or consent.own_driver_only


def check_recognition(policy: LockPolicy, consents: Iterable[Consent]) -> None:
    """Says when a server starts what whoever wears a locked avatar would find out later: that this machine lacks the network that recognises people.

    Raises:
        ConfigError: it is asked to lock every avatar.
    """
    from models.face_embedding import WEIGHT
    from models.weights import installed

    if policy is not LockPolicy.ALL and not any(own_driver_only(consent, policy) for consent in consents):
        return
    try:
        installed(WEIGHT)
    except MissingAsset as error:
        if policy is LockPolicy.ALL:
            raise ConfigError(f"--owner-lock: {error}") from None
        logger.warning("avatars that only their owners may drive stay at rest: %s", error)

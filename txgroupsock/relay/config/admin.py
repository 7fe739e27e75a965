"""What the service for operators is asked to be, checked; nothing is opened here."""

from __future__ import annotations

from attrs import field, frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.viewers.access import Access, checkTokens


@frozen(field_transformer=typed)
class AdminModel:
    """
    A service for operators.

    @ivar endpoints: where to listen for HTTP, as C{serverFromString} takes it; none: nowhere.
    @ivar readers: who may look, besides whoever may change; left out: everybody who can connect.
    @ivar tokens: who shows one of these (C{Authorization: Bearer}) may change routes; none: nobody.
    @ivar recordingFolders: where who has a token may have files made, and in folders within these.
    @ivar hookHosts: to where who has a token may have alarms posted: C{"host"} or C{"host:port"}.
    """

    endpoints: tuple[str, ...] = ()
    readers: Access = field(factory=Access)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    recordingFolders: tuple[str, ...] = ()
    hookHosts: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        checkTokens("tokens", self.tokens)

"""The mail about an invitation."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sydent_py.clock import DAY_MS, Clock
from sydent_py.database import Database
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.invites import models
from sydent_py.invites.opt_out import OptOuts
from sydent_py.invites.store import Blocked
from sydent_py.messaging.email import Mail, Mailer
from sydent_py.messaging.names import neutral
from sydent_py.messaging.templates import Templates
from sydent_py.outbox.mail import send
from sydent_py.sealing import Sealer, hash_token

MAX_NAME_CHARACTERS = 80
SPACE = "m.space"


@dataclass(frozen=True)
class SendInviteMail:
    """Sends the mail that the outbox holds, unless it has become pointless: revoked, expired or unwanted meanwhile."""

    database: Database
    opt_outs: OptOuts
    blocked: Blocked
    sealer: Sealer
    clock: Clock
    mailer: Mailer
    templates: Templates
    server_name: str
    sign_url: str
    client_link: str

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        """Send one mail; ``TryLater`` or ``Undeliverable``."""
        with self.database.autocommit() as db:
            invite = models.get(db, hash_token(content["token"]), self.clock.now_ms())
            if invite is None:
                return
            threepid = ThreePid(invite.medium, self.sealer.unseal(invite.address, "invites.address"))
            if self.blocked.is_recipient(threepid) or self.opt_outs.is_opted_out(db, threepid):
                return
        send(self.mailer, self._mail(invite, threepid, content))

    def _mail(self, invite: Any, threepid: ThreePid, content: dict[str, Any]) -> Mail:
        opt_out_link = self.opt_outs.link(threepid)
        names = {name: neutral(content[name], MAX_NAME_CHARACTERS) for name in ("room_name", "sender_name")}
        return self.templates.render(
            "invite",
            None,
            threepid,
            headers={"List-Unsubscribe": f"<{opt_out_link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            server_name=self.server_name,
            sender=invite.sender,
            room_alias=content["room_alias"],
            is_space=content["room_type"] == SPACE,
            address=threepid.address,
            link=self._client_link(invite, threepid, content, names),
            opt_out_link=opt_out_link,
            valid_days=max(1, (invite.expires_at_ms - self.clock.now_ms()) // DAY_MS),
            **names,
        )

    def _client_link(self, invite: Any, threepid: ThreePid, content: dict[str, Any], names: dict[str, str]) -> str:
        """The operator's template, every value percent-encoded, so that none of them reaches beyond its place."""
        secrets = urlencode({"token": content["token"], "private_key": content["private_key"]})
        values = {
            "room_id": invite.room_id,
            "room_alias": content["room_alias"],
            "room_name": names["room_name"],
            "room_type": content["room_type"],
            "sender": invite.sender,
            "sender_name": names["sender_name"],
            "via": str(UserId.parse(invite.sender).server),
            "email": threepid.address,
            "signurl": f"{self.sign_url}?{secrets}",
        }
        return self.client_link.format_map({name: quote(value, safe="") for name, value in values.items()})

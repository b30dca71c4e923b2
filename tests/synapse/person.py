"""What people do at their homeserver, through its client API."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.synapse.identity import Account, Proof, PublicIdentityServer, medium_and_address

Ask = Callable[[str, str, str, Any], tuple[int, Any]]
CLIENT = "/_matrix/client/v3"
THIRD_PARTY_INVITE = "m.room.third_party_invite"


@dataclass(frozen=True)
class Person:
    """Somebody with an account at a homeserver, which ``ask`` reaches: method, path, token, body -> status, body."""

    ask: Ask
    user_id: str
    password: str
    access_token: str

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.ask(method, CLIENT + path, self.access_token, body)

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request that succeeds; the body of its answer."""
        status, answer = self.request(method, path, body)
        assert status == 200, (path, status, answer)
        return answer

    def account_at(self, server: PublicIdentityServer) -> Account:
        """Registered there with an OpenID token, as a client does."""
        return server.register(self.do("POST", f"/user/{quote(self.user_id)}/openid/request_token", {}))

    def is_welcome(self) -> bool:
        """Whether the homeserver still takes the access token."""
        return self.request("GET", "/account/whoami")[0] == 200

    def create_room(self, **options: Any) -> str:
        return str(self.do("POST", "/createRoom", {"preset": "private_chat", **options})["room_id"])

    def invite_address(self, room: str, address: str, account: Account) -> None:
        body = {**account.credentials, **medium_and_address(address)}
        self.do("POST", f"/rooms/{quote(room)}/invite", body)

    def state(self, room: str) -> list[dict[str, Any]]:
        return list(self.do("GET", f"/rooms/{quote(room)}/state"))

    def pending(self, room: str) -> dict[str, dict[str, Any]]:
        """The third-party invites of the room that are not revoked: token -> content."""
        events = [event for event in self.state(room) if event["type"] == THIRD_PARTY_INVITE and event["content"]]
        return {event["state_key"]: event["content"] for event in events}

    def public_keys(self, room: str) -> set[str]:
        """Those that may sign for the third-party invites of the room."""
        return {key["public_key"] for content in self.pending(room).values() for key in content["public_keys"]}

    def revoke(self, room: str, token: str) -> None:
        self.do("PUT", f"/rooms/{quote(room)}/state/{THIRD_PARTY_INVITE}/{quote(token)}", {})

    def members(self, room: str) -> dict[str, str]:
        """User -> membership."""
        events = [event for event in self.state(room) if event["type"] == "m.room.member"]
        return {event["state_key"]: event["content"]["membership"] for event in events}

    def has_invited(self, guest: "Person", room: str) -> bool:
        """Whether both homeservers know of the invite: the guest's is told first, and joins are for the other to allow."""
        return room in guest.invites() and self.members(room).get(guest.user_id) == "invite"

    def times_invited(self, room: str, user_id: str) -> int:
        """How often the room's history says that ``user_id`` was invited."""
        history = self.do("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=100")["chunk"]
        events = [event for event in history if (event["type"], event.get("state_key")) == ("m.room.member", user_id)]
        return [event["content"]["membership"] for event in events].count("invite")

    def invites(self) -> dict[str, Any]:
        """The rooms that wait for an answer: room -> what is shown of it."""
        query = urlencode({"timeout": 0, "filter": json.dumps({"room": {"timeline": {"limit": 1}}})})
        rooms = self.do("GET", f"/sync?{query}").get("rooms", {})
        return dict(rooms.get("invite", {}))

    def join(self, room: str, signed: dict[str, Any] | None = None) -> None:
        """Accept the invite to ``room``, or come in by what an identity server has ``signed``."""
        self.do("POST", f"/join/{quote(room)}", {} if signed is None else {"third_party_signed": signed})

    def leave(self, room: str) -> None:
        """Leave ``room``, or decline the invite to it."""
        self.do("POST", f"/rooms/{quote(room)}/leave", {})

    def bind(self, proof: Proof, account: Account) -> None:
        self.do("POST", "/account/3pid/bind", {**proof.credentials, **account.credentials})

    def unbind(self, address: str, account: Account) -> str:
        """Take the binding back through the homeserver; what it says of it."""
        body = {**medium_and_address(address), "id_server": account.server.name}
        return str(self.do("POST", "/account/3pid/unbind", body)["id_server_unbind_result"])

    def add_address(self, address: str, server: PublicIdentityServer) -> None:
        """Give the homeserver an address of one's own, proved to the homeserver by its own mail."""
        proof = Proof("", "another.secret")
        body = {"client_secret": proof.client_secret, "email": address, "send_attempt": 1}
        proof = Proof(self.do("POST", "/account/3pid/email/requestToken", body)["sid"], proof.client_secret)
        link = server.mails.link(address, "/add_threepid/email/submit_token?")
        assert self.ask("GET", link.removeprefix(link.partition("/_matrix")[0]), "", None)[0] == 200
        self.do("POST", "/account/3pid/add", {**proof.credentials, "auth": self._by_password()})

    def addresses(self) -> list[str]:
        """Those the homeserver knows."""
        return [threepid["address"] for threepid in self.do("GET", "/account/3pid")["threepids"]]

    def delete_address(self, address: str) -> str:
        """Take an address from the homeserver, which takes back what is bound; what it says of that."""
        return str(self.do("POST", "/account/3pid/delete", medium_and_address(address))["id_server_unbind_result"])

    def deactivate(self) -> tuple[int, Any]:
        return self.request("POST", "/account/deactivate", {"auth": self._by_password()})

    def _by_password(self) -> dict[str, Any]:
        user = {"type": "m.id.user", "user": self.user_id}
        return {"type": "m.login.password", "identifier": user, "password": self.password}

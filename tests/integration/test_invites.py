"""Invitations on the real thing: the worker's own process, a mail server, and homeservers that fail in every way."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from signedjson.key import decode_verify_key_bytes
from unpaddedbase64 import decode_base64

from tests.fakes.homeserver import FakeHomeserver, Onbind, answer, hang
from tests.fakes.smtp import SmtpServer
from tests.integration.conftest import V2, IdentityServer
from tests.integration.test_whole_flow import bind, confirm, lookup, register, request_token, text_of

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

ONBIND = "/_matrix/federation/v1/3pid/onbind"


def eventually(condition: Callable[[], Any], server: IdentityServer, within_s: float = 30) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, server.output.read_text()
        time.sleep(0.05)


def invite(server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer, email: str) -> dict[str, Any]:
    """A user of the homeserver invites ``email``: what the homeserver is told, once the mail has arrived."""
    mails = len(smtp.received)
    inviter = register(server, homeserver, "inviter")
    sender = f"@inviter:{homeserver.name}"
    body = {"medium": "email", "address": email, "room_id": f"!room:{homeserver.name}", "sender": sender}
    status, stored = server.post("/store-invite", body, inviter)
    assert status == 200, stored
    eventually(lambda: len(smtp.received) > mails, server)
    assert smtp.newest.recipients == [email]
    assert sender in text_of(smtp.newest)
    return dict(stored)


def bind_address(server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer, email: str) -> str:
    """The owner of the address proves and binds it: their access token."""
    bob = register(server, homeserver, "bob")
    sid = request_token(server, bob, email)[1]["sid"]
    confirm(server, smtp.newest)
    status, association = bind(server, bob, sid, f"@bob:{homeserver.name}")
    assert status == 200, association
    return bob


def delivered(homeserver: FakeHomeserver) -> list[Onbind]:
    """What arrived by the method that the homeserver knows."""
    return [onbind for onbind in homeserver.onbinds if onbind.method == "POST"]


def background_process(server: IdentityServer) -> int:
    """The process that does the background work."""
    lines = [json.loads(line) for line in server.output.read_text().splitlines() if '"worker.active"' in line]
    return int(lines[-1]["pid"])


def test_a_mailed_invitation_reaches_the_homeserver_of_whoever_binds_the_address(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    stored = invite(server, homeserver, smtp, "bob@example.org")
    bind_address(server, homeserver, smtp, "bob@example.org")
    eventually(lambda: delivered(homeserver), server)
    [onbind] = delivered(homeserver)
    assert [told["token"] for told in onbind.content["invites"]] == [stored["token"]]
    [(key_id, key)] = server.request("GET", "/_matrix/key/v2/server").json()["verify_keys"].items()
    assert onbind.is_signed_by("id.test", decode_verify_key_bytes(key_id, decode_base64(key["key"])), homeserver.name)


def test_a_notification_survives_a_homeserver_that_fails_and_a_worker_that_is_killed(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    stored = invite(server, homeserver, smtp, "bob@example.org")
    working = dict(homeserver.routes)
    homeserver.routes[f"POST {ONBIND}"] = answer("{}", status=503)
    bind_address(server, homeserver, smtp, "bob@example.org")
    eventually(lambda: "outbox.postponed" in server.output.read_text(), server)
    os.kill(background_process(server), signal.SIGKILL)
    server.stop(signal.SIGKILL)
    server.start()
    homeserver.routes.clear()
    homeserver.routes.update(working)
    failed = len(homeserver.onbinds)
    eventually(lambda: delivered_since(homeserver, failed), server)
    [told] = delivered_since(homeserver, failed)[0].content["invites"]
    assert told["token"] == stored["token"]


def delivered_since(homeserver: FakeHomeserver, count: int) -> list[Onbind]:
    return [onbind for onbind in homeserver.onbinds[count:] if onbind.method == "POST"]


def test_a_homeserver_that_hangs_keeps_nobody_else_waiting(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    homeserver.routes[f"PUT {ONBIND}"] = hang
    bind_address(server, homeserver, smtp, "bob@example.org")
    eventually(lambda: homeserver.onbinds, server)
    began_s = time.monotonic()
    invite(server, homeserver, smtp, "carol@example.org")
    assert time.monotonic() - began_s < 8
    background = psutil.Process(background_process(server))
    server.stop()
    assert not background.is_running()


def test_a_homeserver_takes_a_binding_back(server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer) -> None:
    bob = bind_address(server, homeserver, smtp, "bob@example.org")
    mxid, path = f"@bob:{homeserver.name}", f"{V2}/3pid/unbind"
    body = {"mxid": mxid, "threepid": {"medium": "email", "address": "bob@example.org"}}
    header = {"Authorization": homeserver.sign("POST", path, body, "id.test")}
    assert lookup(server, bob, "bob@example.org") == {"bob@example.org": mxid}
    answer = server.request("POST", path, body=json.dumps(body).encode(), headers=header)
    assert (answer.status, answer.json().keys()) == (200, {"unsigned"})
    assert lookup(server, bob, "bob@example.org") == {}

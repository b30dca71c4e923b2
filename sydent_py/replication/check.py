"""Asking a peer whether it and this server fit together; nothing changes by it, here or there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from unpaddedbase64 import encode_base64

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.federation.remote import Answered, NotThere
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.replication import models
from sydent_py.replication.client import PeerClient
from sydent_py.replication.introduction import log_key, said_key_id, verify_key
from sydent_py.replication.peers import Peer
from sydent_py.replication.status import Standing, Status
from sydent_py.setting_types import is_loopback
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.text import MAX_NUMBER, Malformed

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do next; ``evidence`` are checkpoints, as they were served."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """Looks at one peer."""

    peer: Peer
    client: PeerClient
    database: Database
    status: Status
    clock: Clock

    def __call__(self) -> list[Finding]:
        """What was found, in the order in which it is best put right."""
        with self.database.autocommit() as db:
            state = models.state(db, self.peer.name)
        try:
            encoded = self.client.checkpoint()
        except RequestFailed as failure:
            return [self._unreachable(failure), *self._following(state)]
        checks = (
            ("log key", self._log_key),
            ("signing key", self._signing_key),
            ("checkpoint", lambda: self._checkpoint(encoded, state)),
            ("requests", self._requests),
        )
        return [self._reached(), *(self._look(subject, check) for subject, check in checks), *self._following(state)]

    def _look(self, subject: str, check: Callable[[], Finding]) -> Finding:
        try:
            return check()
        except RequestFailed as failure:
            return Finding(subject, "wrong", f"It did not say: {failure}.", "Try again; if it stays so, ask its operator.")

    def _unreachable(self, failure: RequestFailed) -> Finding:
        url, detail = self.peer.base_url, failure.detail or str(failure)
        if isinstance(failure, NotThere):
            found, advice = f"{url} answers, and has no log.", "Is base_url right? It is where the server's own page is."
        elif isinstance(failure, Answered):
            found, advice = f"{url} answers with status {failure.status}: {detail}.", "If it stays so, ask its operator."
        elif failure.reason is Reason.TLS:
            found = f"The certificate of {url} is not trusted: {detail}."
            advice = "If it is of an authority of your own, name that in ca_file."
        else:
            found, advice = f"{url} cannot be reached: {detail}.", "Is base_url right, and is the server running?"
        return Finding("connection", "wrong", found, advice)

    def _reached(self) -> Finding:
        url = urlsplit(self.peer.base_url)
        if url.scheme == "https":
            return Finding("connection", "ok", f"{self.peer.base_url} answers, with a certificate that is trusted.")
        if is_loopback(url.hostname or ""):
            return Finding("connection", "ok", f"{self.peer.base_url} answers, on this machine.")
        advice = "Whoever is in between can read the addresses that travel: use https."
        return Finding("connection", "warning", f"{self.peer.base_url} answers, without TLS.", advice)

    def _log_key(self) -> Finding:
        shown = log_key(self.client.transport)
        if shown == self.peer.log_key:
            return Finding("log key", "ok", "It shows the log_key that is pinned.")
        advice = (
            "Ask its operator, in another way than by this connection. If it has begun another log, put that key into log_key, restart, "
            f"and then: sydent-py peers resync {self.peer.name}. If not, somebody else answers in its place."
        )
        return Finding("log key", "wrong", f"It shows {shown}, and {self.peer.log_key} is pinned.", advice)

    def _signing_key(self) -> Finding:
        advice = (
            "Ask its operator, in another way than by this connection. If the key was rotated, put the new one into verify_key and the "
            "old one into old_verify_keys, and restart."
        )
        key_id = self.peer.key_id
        pinned = f"{key_id} {encode_base64(bytes(self.peer.keys[key_id]))}"
        try:
            shown = verify_key(self.client.transport, key_id)
        except NotThere:
            return Finding("signing key", "wrong", f"It has no key {key_id}; {pinned} is pinned.", advice)
        if shown != self.peer.keys[key_id]:
            found = f"It shows {key_id} {encode_base64(bytes(shown))}, and {pinned} is pinned."
            return Finding("signing key", "wrong", found, advice)
        said = said_key_id(self.client.transport, self.peer.name)
        if said is not None and said not in self.peer.keys:
            return Finding("signing key", "wrong", f"It signs with {said}, which is not pinned.", advice)
        return Finding("signing key", "ok", "It shows the verify_key that is pinned.")

    def _checkpoint(self, encoded: bytes, state: Any) -> Finding:
        advice = "Show both to its operator; docs/replication.md says what may have happened."
        try:
            shown = open_checkpoint(encoded, self.peer.log_key)
        except (Malformed, Unsigned) as error:
            found = f"What it shows is not signed with the pinned log_key: {error}."
            return Finding("checkpoint", "wrong", found, "See the log key.", (_text(encoded),))
        before = self._verified(state)
        if before is None:
            return Finding("checkpoint", "ok", f"It is signed, and of size {shown.size:,}.")
        evidence = (_text(state.checkpoint), _text(encoded))
        if shown.size < before.size:
            found = f"It is of size {shown.size:,}, and was of size {before.size:,} before."
            return Finding(
                "checkpoint", "wrong", found, f"If a cache stands in between, try again in a minute. {advice}", evidence
            )
        if shown.size == before.size and shown.root != before.root:
            return Finding("checkpoint", "wrong", f"The log has two trees of size {shown.size:,}.", advice, evidence)
        return Finding("checkpoint", "ok", f"It is signed, of size {shown.size:,}, and no smaller than before.")

    def _verified(self, state: Any) -> Checkpoint | None:
        """What was verified last, of the log that is pinned."""
        if state is None or state.checkpoint is None or state.log_key != str(self.peer.log_key):
            return None
        return open_checkpoint(state.checkpoint, self.peer.log_key)

    def _requests(self) -> Finding:
        """Ask what only peers may, and what changes nothing: what entries beyond the end are about; or that our log has none."""
        try:
            if self.peer.is_followed:
                self.client.payloads(MAX_NUMBER, 1)
                return Finding("requests", "ok", "It takes our signed requests, and gives us what its entries are about.")
            self.client.nudge(0)
        except Answered as refusal:
            signer = self.client.signer
            advice = (
                f'There, [[peers]] has to have name = "{signer.server_name}", verify_key = "{signer.key_id} {signer.public_keys[0]}", and a '
                f'direction other than "follow". The clocks may be five minutes apart; ours is at {self.clock.now_ms()} ms.'
            )
            return Finding("requests", "wrong", f"It refuses ours with status {refusal.status}: {refusal.detail}", advice)
        return Finding("requests", "ok", "It takes our signed requests.")

    def _following(self, state: Any) -> list[Finding]:
        if not self.peer.is_followed:
            return []
        [standing] = [each for each in self.status.standings() if each.name == self.peer.name]
        if standing.state != "stopped" and state is not None and state.log_key != str(self.peer.log_key):
            found = "Another log of it was followed, with another log_key."
            advice = f"If its operator has begun another log: sydent-py peers resync {self.peer.name}"
            return [Finding("following", "wrong", found, advice)]
        findings = [_following(standing, "" if state is None else _text(state.evidence or b""))]
        if standing.state != "stopped" and state is not None and state.evidence:
            findings.append(_on_record(standing, _text(state.evidence)))
        if standing.quarantined:
            found = f"Entries that were put aside: {standing.quarantined:,}. The others were taken over."
            findings.append(
                Finding("quarantine", "warning", found, f"See which and why: sydent-py peers quarantine {self.peer.name}")
            )
        return findings


def _following(standing: Standing, evidence: str) -> Finding:
    subject, lag_s = "following", (standing.lag_ms or 0) // 1000
    if standing.state == "stopped":
        advice = (
            "What it said until then is still answered. Ask its operator, and show them this; docs/replication.md says what may have "
            f"happened. If it has mended itself, to go on from there: sydent-py peers resume {standing.name}. "
            f"To begin anew: sydent-py peers resync {standing.name}"
        )
        found = f"It is followed no more: {standing.error}. Entries taken over until then: {standing.entries:,}."
        return Finding(subject, "wrong", found, advice, (evidence,) if evidence else ())
    if standing.error is not None:
        found = f"The last attempt to follow it failed: {standing.error}."
        return Finding(subject, "warning", found, "It is tried again by itself; see what was found above.")
    if standing.state == "never reached":
        return Finding(subject, "warning", "Nobody has begun to follow it.", "The background worker does: is it running?")
    if standing.lag_entries:
        found = f"Entries taken over: {standing.entries:,}; not yet: {standing.lag_entries:,}."
        return Finding(subject, "ok", found)
    if standing.state == "behind":
        found = f"Nobody has looked at it for {lag_s:,} s."
        return Finding(subject, "warning", found, "The background worker does: is it running?")
    return Finding(subject, "ok", f"Entries taken over: {standing.entries:,}; last looked at {lag_s:,} s ago.")


def _on_record(standing: Standing, evidence: str) -> Finding:
    found = "Its log has contradicted itself before; an operator has had it followed on. This was kept:"
    advice = f"Nothing, if that was judged. Beginning anew forgets it: sydent-py peers resync {standing.name}"
    return Finding("evidence", "warning", found, advice, (evidence,))


def _text(encoded: bytes) -> str:
    return encoded.decode(errors="backslashreplace")

"""What Synapse's tables say, against what is published."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sydent_py.synapse import census, errands, pending, queue
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.config import parse
from sydent_py.synapse.consent import ACCOUNT_DATA_TYPE, Consent
from sydent_py.synapse.pending import EVENT_TYPE, Following

NOW = 1_000_000
IDENTITY = "https://id.example.org"
HERE = Following(0, "hs", IDENTITY, revoke=True)


def consent(**publish: Any) -> Consent:
    return Consent(parse({"identity_server": IDENTITY, "publish": {"media": ["email"], **publish}}).publish)


def add(txn: Any, binding: Binding, *, deactivated: int = 0) -> None:
    txn.execute("INSERT INTO users (name, deactivated) VALUES (?, ?) ON CONFLICT DO NOTHING", (binding.user_id, deactivated))
    txn.execute("INSERT INTO user_threepids (medium, address, user_id) VALUES (?, ?, ?)", binding.key)


def say(txn: Any, user_id: str, content: Any) -> None:
    txn.execute(
        "INSERT INTO account_data (user_id, account_data_type, content) VALUES (?, ?, ?)",
        (user_id, ACCOUNT_DATA_TYPE, json.dumps(content)),
    )


def compare(txn: Any, chosen: Consent, *, dry_run: bool = False) -> tuple[int, int]:
    """How much was to be published and to be withdrawn."""
    published = withdrawn = 0
    after: census.Key | None = census.START
    while after is not None:
        page = census.withdraw_surplus(txn, after, chosen, NOW, dry_run=dry_run)
        withdrawn, after = withdrawn + page.to_withdraw, page.next
    after = census.START
    while after is not None:
        page = census.publish_missing(txn, after, chosen, NOW, dry_run=dry_run)
        published, after = published + page.to_publish, page.next
    return published, withdrawn


def test_active_users_addresses_are_published_as_far_as_everybody_agrees(txn: Any) -> None:
    add(txn, Binding("email", "a@example.org", "@a:hs"))
    add(txn, Binding("email", "b@elsewhere.org", "@b:hs"))
    add(txn, Binding("msisdn", "447400123456", "@c:hs"))
    add(txn, Binding("email", "d@example.org", "@d:hs"), deactivated=1)
    add(txn, Binding("email", "e@example.org", "@e:hs"))
    say(txn, "@e:hs", {"publish": False})
    chosen = consent(domains=["example.org"])
    assert compare(txn, chosen, dry_run=True) == (1, 0)
    assert queue.is_empty(txn)
    assert compare(txn, chosen) == (1, 0)
    assert [change.binding.user_id for change in queue.due(txn, NOW)] == ["@a:hs"]
    assert compare(txn, chosen) == (0, 0)


def test_what_should_not_be_published_any_more_is_withdrawn(txn: Any) -> None:
    kept, gone, moved = (Binding("email", f"{name}@example.org", f"@{name}:hs") for name in ("kept", "gone", "moved"))
    other = Binding("email", "f@other.org", "@f:hs")
    for each in (kept, gone, moved, other):
        queue.publish(txn, NOW, each)
    for change in queue.due(txn, NOW):
        queue.leaves(txn, change)
        queue.done(txn, change, change.binding.address)
    new_owner = replace(moved, user_id="@new:hs")
    for each in (kept, new_owner, other):
        add(txn, each)
    assert compare(txn, consent(domains=["example.org"])) == (1, 3)
    changes = [(change.action, change.binding) for change in queue.due(txn, NOW)]
    assert set(changes) == {("unbind", other), ("unbind", gone), ("unbind", moved), ("bind", new_owner)}
    assert changes[-1] == ("bind", new_owner)


@pytest.mark.parametrize("count", [census.PAGE - 1, census.PAGE, census.PAGE + 1])
def test_pages_leave_nothing_out(txn: Any, count: int) -> None:
    for number in range(count):
        add(txn, Binding("email", f"{number}@example.org", f"@{number % 7}:hs"))
    assert compare(txn, consent()) == (count, 0)
    assert queue.waiting(txn).count == count


def event(txn: Any, stream_id: int, token: str, sender: str, *, url: str = IDENTITY, before: int | None = None) -> None:
    """An invitation, or with ``before`` its revocation."""
    content = {} if before else {"public_keys": [{"public_key": "k", "key_validity_url": f"{url}/isvalid"}]}
    text = json.dumps({"sender": sender, "content": content})
    txn.execute("INSERT INTO event_json (event_id, json) VALUES (?, ?)", (f"${stream_id}", text))
    txn.execute(
        "INSERT INTO current_state_delta_stream (stream_id, room_id, type, state_key, event_id, prev_event_id)"
        " VALUES (?, '!room', ?, ?, ?, ?)",
        (stream_id, EVENT_TYPE, token, f"${stream_id}", before and f"${before}"),
    )


def test_invitations_are_followed_from_their_sending_to_their_end(txn: Any) -> None:
    invited = Binding("email", "guest@example.org", "@alice:hs")
    pending.sent(txn, NOW, invited, "!room")
    assert not pending.is_invited(txn, "email", invited.address, 0)  # it may have failed
    event(txn, 1, "token", "@alice:hs")
    assert pending.follow(txn, 1, HERE) == 0
    assert pending.is_invited(txn, "email", invited.address, NOW)
    assert not pending.is_invited(txn, "email", invited.address, NOW + 1)
    event(txn, 2, "token", "@moderator:elsewhere", before=1)
    assert pending.follow(txn, 2, HERE) == 1
    assert not pending.is_invited(txn, "email", invited.address, 0)
    assert [errand.name for errand in errands.due(txn, NOW)] == ["token"]
    assert pending.follow(txn, 2, HERE) == 0


def test_an_identity_server_is_told_of_its_own_invitations_alone(txn: Any) -> None:
    event(txn, 1, "theirs", "@alice:hs", url="https://other.example.org")
    event(txn, 2, "foreign", "@bob:elsewhere")
    event(txn, 3, "theirs", "@alice:hs", before=1)
    event(txn, 4, "foreign", "@alice:hs", before=2)
    assert pending.follow(txn, 4, HERE) == 0
    assert errands.count(txn) == 0


def test_what_was_there_before_the_module_is_not_followed(txn: Any) -> None:
    event(txn, 1, "old", "@alice:hs")
    event(txn, 2, "old", "@alice:hs", before=1)
    assert pending.follow(txn, 2, replace(HERE, beginning=2)) == 0
    event(txn, 3, "old", "@alice:hs", before=1)
    assert pending.follow(txn, 3, replace(HERE, beginning=3)) == 1  # from a restart on, it is known where to go on


def test_errands_are_kept_until_they_are_done(txn: Any) -> None:
    errands.add(txn, "pull", "a", {"x": 1})
    errands.add(txn, "pull", "a", {"x": 2})
    [errand] = errands.due(txn, NOW)
    assert (errand.detail, errand.attempts) == ({"x": 2}, 0)
    errands.postpone(txn, errand, NOW + 10)
    assert errands.due(txn, NOW + 9) == []
    [errand] = errands.due(txn, NOW + 10)
    assert errand.attempts == 1
    errands.done(txn, errand)
    assert errands.count(txn) == 0

"""What an account sees of itself, and how it is forgotten."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import MetaData, select, text

from sydent_py.database import Database
from sydent_py.identifiers import ThreePid
from tests.conftest import Launch
from tests.driver import TERMS, Driver, refusal

OWN = "/_matrix/identity/unstable/sydent_py"


def mine(api: Driver, token: str) -> dict:
    answer = api.request("GET", f"{OWN}/bindings/mine", token)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def erase(api: Driver, token: str) -> dict[str, int]:
    answer = api.request("POST", f"{OWN}/account/erase", token)
    assert answer.status_code == 200, answer.text
    return answer.get_json()["erased"]


def rows_with(database: Database, value: str) -> dict[str, int]:
    """How many rows of each table hold ``value`` in clear."""
    with database.begin() as db:
        metadata = MetaData()
        metadata.reflect(db)
        found = {name: sum(value in row for row in db.execute(select(table))) for name, table in metadata.tables.items()}
    return {name: count for name, count in found.items() if count}


def test_an_account_sees_its_bindings_sessions_and_invitations(api: Driver) -> None:
    inviter = api.register("@inviter:hs.test")
    api.invited(inviter, "bound@example.org", sender="@inviter:hs.test")
    token, _ = api.bound("bound@example.org")
    api.validate(token, "proved@example.org")
    api.start(token, "open@example.org")
    for address in ("proved@example.org", "open@example.org", "other@example.org"):
        api.invited(inviter, address, sender="@inviter:hs.test", room_id="!room:hs.test")
    seen = mine(api, token)
    [binding] = seen["bindings"]
    assert (binding["medium"], binding["address"], binding["origin"]) == ("email", "bound@example.org", "id.test")
    assert binding["ts"] == binding["not_before"] == api.clock.now_ms() < binding["not_after"]
    assert {session["address"]: session["validated_at"] is not None for session in seen["sessions"]} == {
        "bound@example.org": True,
        "proved@example.org": True,
        "open@example.org": False,
    }
    assert sorted(invite["address"] for invite in seen["invites"]) == ["bound@example.org", "proved@example.org"]
    assert {(invite["sender"], invite["room_id"]) for invite in seen["invites"]} == {("@inviter:hs.test", "!room:hs.test")}


def test_an_account_sees_nothing_of_others(api: Driver) -> None:
    api.bound()
    mallory = api.register("@mallory:hs.test")
    assert mine(api, mallory) == {"bindings": [], "sessions": [], "invites": []}
    assert refusal(api.request("GET", f"{OWN}/bindings/mine")) == (401, "M_UNAUTHORIZED")


def test_what_is_held_can_be_seen_and_erased_without_accepting_terms(launch: Launch, tmp_path) -> None:
    (tmp_path / "terms.toml").write_text(TERMS)
    api = launch(terms={"file": tmp_path / "terms.toml"})
    token = api.register()
    assert mine(api, token)["bindings"] == []
    assert erase(api, token)["access_tokens"] == 1


def test_erasing_an_account_leaves_nothing_of_it(api: Driver) -> None:
    inviter = api.register("@inviter:hs.test")
    api.invited(inviter, "alice@example.org", sender="@inviter:hs.test")
    token, _ = api.bound()
    other_token = api.register()
    api.start(token, "open@example.org")
    api.invited(token, "friend@example.org")
    bystander, _ = api.bound("bob@example.org", "@bob:hs.test")
    assert erase(api, token) == {"bindings": 1, "sessions": 2, "invites": 2, "access_tokens": 2, "keys": 0, "log_entries": 2}
    for revoked in (token, other_token):
        assert refusal(api.get("/account", revoked)) == (401, "M_UNAUTHORIZED")
    assert api.lookup(bystander, "alice@example.org", "bob@example.org") == {"bob@example.org": "@bob:hs.test"}
    assert rows_with(api.services.database, "@alice:hs.test") == {}
    with api.services.database.begin() as db:
        kinds = db.execute(text("SELECT kind FROM log_pending ORDER BY id")).scalars().all()
    assert kinds == ["bind", "bind", "unbind", "erase"]


def test_erasing_stops_what_still_waits_to_be_sent(api: Driver) -> None:
    token, _ = api.bound()
    api.store_invite(token)
    erase(api, token)
    sent = len(api.mailbox.mails)
    api.deliver()
    assert len(api.mailbox.mails) == sent
    assert api.homeservers.onbinds == []


def test_who_was_erased_may_come_back(api: Driver) -> None:
    token, _ = api.bound()
    erase(api, token)
    again, _ = api.bound()
    assert api.lookup(again, "alice@example.org") == {"alice@example.org": "@alice:hs.test"}
    assert erase(api, again)["bindings"] == 1


def test_erasing_needs_the_accounts_token(api: Driver) -> None:
    assert refusal(api.request("POST", f"{OWN}/account/erase")) == (401, "M_UNAUTHORIZED")


def test_erasing_does_not_lift_the_budget_of_lookups(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 1})
    token = api.register()
    api.lookup(token, "bob@example.org")
    erase(api, token)
    body = {"algorithm": "sha256", "pepper": api.pepper(api.register()), "addresses": ["x"]}
    assert refusal(api.post("/lookup", body, api.register())) == (429, "M_LIMIT_EXCEEDED")


def test_erasing_takes_the_invitations_that_reach_its_addresses_too(api: Driver) -> None:
    inviter = api.register("@inviter:hs.test")
    token = api.register()
    api.validate(token, "proved@example.org")
    api.invited(inviter, "proved@example.org", sender="@inviter:hs.test")
    assert len(mine(api, token)["invites"]) == 1
    assert erase(api, token)["invites"] == 1
    assert mine(api, api.register())["invites"] == []


def test_what_erasing_tells_does_not_tell_who_has_opted_out(api: Driver) -> None:
    told = []
    for address in ("bob@example.org", "carol@example.org"):
        token = api.register()
        if address == "bob@example.org":
            link = api.services.invites.opt_outs.link(ThreePid.email(address))
            api.services.invites.opt_outs.opt_out(link.partition("t=")[2])
        assert api.store_invite(token, address).status_code == 200
        told.append(erase(api, token))
    assert told[0] == told[1]
    api.deliver()
    assert api.mailbox.mails == []


def write_while_erasing(api: Driver, user: str, address: str) -> list[int]:
    """Everything an account may write, and its erasure, at once: the statuses."""
    token = api.register(user)
    sid = api.validate(token, address)
    work = [
        lambda: api.bind(token, sid, user),
        lambda: api.request("POST", f"{OWN}/account/erase", token),
        lambda: api.store_invite(token, f"friend-of-{address}", sender=user),
        lambda: api.request_token(token, f"more-{address}"),
        lambda: api.post("/terms", {"user_accepts": []}, token),
    ]
    with ThreadPoolExecutor(len(work)) as pool:
        return [done.result().status_code for done in [pool.submit(each) for each in work]]


def test_what_is_written_while_an_account_is_erased_is_erased_or_refused(api: Driver) -> None:
    """Whichever comes first: nothing of an erased account is left, and nobody sees a failure of ours."""
    for number in range(8):
        user, address = f"@user{number}:hs.test", f"user{number}@example.org"
        assert set(write_while_erasing(api, user, address)) <= {200, 401, 404}
        assert rows_with(api.services.database, user) == {}
        assert api.lookup(api.register("@witness:hs.test"), address) == {}


def test_registering_while_the_account_is_erased_works(api: Driver) -> None:
    for _ in range(8):
        token = api.register()
        with ThreadPoolExecutor(2) as pool:
            registered = pool.submit(api.register)
            pool.submit(erase, api, token).result()
        assert api.get("/account", registered.result()).status_code in {200, 401}

"""What has run out leaves no row behind."""

from sqlalchemy import text

from tests.conftest import Launch
from tests.driver import refusal

DAY_S = 86_400


def test_expired_sessions_windows_and_budgets_are_deleted_and_nothing_else(launch: Launch) -> None:
    api = launch()
    token, _ = api.bound()
    api.lookup(token, "alice@example.org")
    api.invited(token, "old@example.org")
    api.clock.advance(29 * DAY_S)
    api.invited(token, "new@example.org")
    api.clock.advance(2 * DAY_S + 1)
    sid, mailed = api.start(token, "bob@example.org")
    api.services.forget_expired()
    with api.services.database.begin() as db:
        left = {
            table: db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("validation_sessions", "lookup_budgets", "bindings", "access_tokens", "log_pending", "invites")
        }
        windows = db.execute(text("SELECT min(expires_at_ms) FROM rate_limits")).scalar_one()
    assert left == {
        "validation_sessions": 1,
        "lookup_budgets": 0,
        "bindings": 1,
        "access_tokens": 1,
        "log_pending": 1,
        "invites": 1,
    }
    assert windows > api.clock.now_ms()
    assert api.submit(token, sid, mailed).status_code == 200


def test_a_session_that_has_just_expired_is_still_told_from_one_that_never_was(launch: Launch) -> None:
    api = launch()
    token = api.register()
    sid, mailed = api.start(token)
    api.clock.advance(DAY_S + 1)
    api.services.forget_expired()
    assert refusal(api.submit(token, sid, mailed)) == (400, "M_SESSION_EXPIRED")

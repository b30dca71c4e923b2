import pytest

from sydent_py.settings import ConfigurationError, load
from sydent_py.terms_file import load_terms


def configured(tmp_path, text: str):
    path = tmp_path / "sydent.toml"
    path.write_text(text)
    return load(path)


def test_the_defaults_need_no_file() -> None:
    settings = load(None)
    assert settings.server.bind == "127.0.0.1:8090"
    assert settings.database_url == "sqlite:///data/sydent.db"
    assert settings.lookup.algorithms == ("sha256",)


def test_the_database_follows_the_data_directory(tmp_path) -> None:
    assert configured(tmp_path, '[server]\ndata_dir = "/srv/id"').database_url == "sqlite:////srv/id/sydent.db"


def test_the_environment_wins_over_the_file_key_by_key(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SYDENT_PY_SERVER__NAME", "id.env.test")
    monkeypatch.setenv("SYDENT_PY_EMAIL__FROM", "Env <env@id.test>")
    monkeypatch.setenv("SYDENT_PY_FEDERATION__ALLOW_NETWORKS", '["10.0.0.0/8"]')
    settings = configured(tmp_path, '[server]\nname = "id.file.test"\nworkers = 5\n[email]\nfrom = "File <file@id.test>"')
    assert (settings.server.name, settings.server.workers) == ("id.env.test", 5)
    assert settings.email.sender_parts == ("Env", "env@id.test")
    assert [str(network) for network in settings.federation.allow_networks] == ["10.0.0.0/8"]


def test_the_environment_may_name_the_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "x.toml").write_text('[server]\nname = "named.test"')
    monkeypatch.setenv("SYDENT_PY_CONFIG", str(tmp_path / "x.toml"))
    assert load(None).server.name == "named.test"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[server]\nnaem = 'x'", "server.naem"),
        ("[sevrer]\nname = 'x'", "sevrer"),
        ("[server]\nname = 'a b'", "server.name"),
        ("[server]\npublic_base_url = 'id.example.org'", "server.public_base_url"),
        ("[server]\nworkers = 0", "server.workers"),
        ("[server]\ntrusted_proxies = ['10.0.0.1/8']", "server.trusted_proxies"),
        ("[database]\nurl = 'mysql://x'", "database"),
        ("[email]\nfrom = 'nobody'", "email"),
        ("[email]\nfrom = 'a@b.test, c@d.test'", "email"),
        ("[email]\nsmtp_host = 'mail.example.org'\nsmtp_security = 'none'", "smtp_security"),
        ("[email]\nsmtp_password = 'x'\nsmtp_password_file = 'y'", "not both"),
        ("[lookup]\nalgorithms = ['none']", "sha256"),
        ("[limits]\nemail_per_address = 'often'", "limits.email_per_address"),
        ("[validation]\nnext_link_origins = ['https://app.test/path']", "validation.next_link_origins"),
    ],
)
def test_what_does_not_fit_stops_the_start_and_is_named(tmp_path, text: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        configured(tmp_path, text)


def test_every_problem_is_named_at_once(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)server\.a: unknown key.*server\.b: unknown key"):
        configured(tmp_path, "[server]\na = 1\nb = 2")


@pytest.mark.parametrize("variable", ["SYDENT_PY_SERVRE__NAME", "sydent_py_servre__name", "SYDENT_PY_SERVER__NAEM"])
def test_unknown_environment_variables_are_refused(monkeypatch, variable: str) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError, match=rf"{variable}|server\.naem"):
        load(None)


def test_secrets_come_from_a_file_and_are_never_shown(tmp_path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    settings = configured(tmp_path, f"[email]\nsmtp_password_file = '{tmp_path}/password'")
    assert settings.email.password == "hunter2"
    assert "hunter2" not in repr(configured(tmp_path, "[email]\nsmtp_password = 'hunter2'"))
    with pytest.raises(ConfigurationError) as refused:
        configured(tmp_path, "[email]\nsmtp_password = 'hunter2'\nsmtp_password_file = 'y'")
    assert "hunter2" not in str(refused.value)


def test_a_missing_secret_file_is_named(tmp_path) -> None:
    settings = configured(tmp_path, f"[email]\nsmtp_password_file = '{tmp_path}/nothing'")
    with pytest.raises(ConfigurationError, match=r"smtp_password_file.*nothing"):
        _ = settings.email.password


@pytest.mark.parametrize("text", ["x", "[server", "\xff"])
def test_a_file_that_is_not_toml_is_named(tmp_path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sydent\.toml"):
        configured(tmp_path, text)


def test_loopback_mail_may_go_in_clear(tmp_path) -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        assert configured(tmp_path, f"[email]\nsmtp_host = '{host}'\nsmtp_security = 'none'").email.smtp_host == host


@pytest.mark.parametrize(
    "text",
    [
        "[policies.p]\nversion = '1'",
        "[policies.p.en]\nname = 'x'\nurl = 'y'",
        "[policies.p]\nversion = '1'\n[policies.p.en]\nname = 'x'",
        "[other]\n",
    ],
)
def test_terms_that_do_not_fit_are_named(tmp_path, text: str) -> None:
    (tmp_path / "terms.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"terms\.toml"):
        load_terms(tmp_path / "terms.toml")


@pytest.mark.parametrize(
    "line",
    [
        "[server]\nname = 5",
        "[server]\nbind = ''",
        "[server]\nbind = '127.0.0.1'",
        "[server]\nbind = '127.0.0.1:99999'",
        "[server]\nbind = '0'",
        "[server]\npublic_base_url = 5",
        "[server]\npublic_base_url = 'https://id.test:99999'",
        "[server]\npublic_base_url = 'https://user@id.test'",
        "[server]\npublic_base_url = 'https://id.test/a b'",
        "[server]\ntrusted_proxies = [5]",
        "[validation]\nnext_link_origins = ['https://a; script-src *']",
        "[limits]\nemail_per_address = '0/hour'",
        "[limits]\nemail_per_address = ''",
        "[limits]\nstorage_url = 'memory://'",
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line.split("\n")[1].split(" ", maxsplit=1)[0]):
        configured(tmp_path, line)


def test_a_file_that_is_left_empty_is_no_file(tmp_path) -> None:
    settings = configured(
        tmp_path, "[terms]\nfile = ''\n[federation]\nca_file = ''\n[email]\ntemplates_dir = ''\nsmtp_password_file = ''"
    )
    assert settings.terms.file is settings.federation.ca_file is settings.email.templates_dir is None
    assert settings.email.password == ""


def test_sockets_and_ipv6_can_be_listened_on(tmp_path) -> None:
    for bind in ("[::1]:8090", "unix:/run/sydent-py/socket", "0.0.0.0:80", "localhost:8090"):
        assert configured(tmp_path, f"[server]\nbind = '{bind}'").server.bind == bind

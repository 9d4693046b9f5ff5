"""The tables of Kafka, Pub/Sub and of commands from the cloud: what they mean, and every mistake in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_energy.config import Kafka, Pubsub, Settings, extras, load, values
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-of-a-test"
KAFKA = '[kafka]\nbrokers = "kafka1:9092"\n'
PUBSUB = '[pubsub]\nproject = "my-project-1"\n'
KEY = json.dumps({"type": "service_account", "private_key": SECRET})


def settings(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "edge-energy.toml"
    file.write_text(text, "utf-8")
    return load(file, environ or {})


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the problems of a configuration without the name of its file, and no secret in any."""
    with pytest.raises(ConfigError) as caught:
        settings(folder, text, environ)
    assert SECRET not in str(caught.value)
    return [problem.replace(f"{folder / 'edge-energy.toml'}: ", "") for problem in caught.value.problems]


def test_a_table_with_what_it_cannot_be_without_is_enough(tmp_path: Path) -> None:
    """Names of our own are made of the appliance's id: two appliances never share a reader."""
    found = settings(tmp_path, f'[appliance]\nid = "house-7"\n{KAFKA}{PUBSUB}')
    assert found.kafka is not None
    assert (found.kafka.readings_topic, found.kafka.group) == ("shelly_data", "edge-energy-house-7")
    assert found.pubsub is not None
    assert found.pubsub.send_command_subscription == "send_command-house-7"
    assert (found.cloud.allow_commands, found.cloud.publish_commands) == (False, False)
    assert settings(tmp_path, "").kafka is None


def test_old_names_of_the_environment_switch_kafka_on(tmp_path: Path) -> None:
    found = settings(tmp_path, "", {"KAFKA_BROKER": "10.0.0.1:9092", "KAFKA_TOPIC": "old_topic"}).kafka
    assert found is not None
    assert (found.brokers, found.readings_topic) == ("10.0.0.1:9092", "old_topic")
    (problem,) = problems(tmp_path, KAFKA, {"KAFKA_BROKER": "other:9092"})
    assert "keep one of the two" in problem


def test_secrets_come_from_the_credentials_directory(tmp_path: Path) -> None:
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    (secrets / "kafka.password").write_text(f"{SECRET}\n")
    (secrets / "pubsub.credentials").write_text(KEY)
    text = f'{KAFKA}username = "edge"\n{PUBSUB}'
    found = settings(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(secrets)})
    assert found.kafka is not None
    assert found.kafka.password == SecretStr(SECRET)
    assert found.pubsub is not None
    assert found.pubsub.credentials == SecretStr(KEY)
    assert SECRET not in repr(found)


def test_the_key_of_a_service_account_may_be_in_a_file(tmp_path: Path) -> None:
    """Read when it is needed, and never shown."""
    file = tmp_path / "key.json"
    file.write_text(KEY)
    found = settings(tmp_path, f'{PUBSUB}credentials_file = "{file}"').pubsub
    assert found is not None
    assert found.service_account() == json.loads(KEY)
    assert SECRET not in repr(found)
    for text, words in (
        ("no json " + SECRET, "expected the path of a service account's JSON key"),
        (None, "can read"),
    ):
        file.unlink() if text is None else file.write_text(text)
        (problem,) = problems(tmp_path, f'{PUBSUB}credentials_file = "{file}"')
        assert words in problem
    file.write_text(KEY)
    (problem,) = problems(tmp_path, f"{PUBSUB}credentials_file = \"{file}\"\ncredentials = '{KEY}'")
    assert "expected credentials or credentials_file, not both" in problem


MISTAKES = {
    "[kafka]": "kafka.brokers: missing; expected host names with ports",
    '[kafka]\nbrokers = "kafka1"': "expected host names with ports",
    '[kafka]\nbrokers = "kafka1:9092,"': "expected host names with ports",
    '[kafka]\nbrokers = "kafka1:0"': "expected host names with ports",
    '[kafka]\nbrokers = "http://kafka1:9092"': "expected host names with ports",
    f'{KAFKA}readings_topic = "a topic"': "kafka.readings_topic",
    f'{KAFKA}username = "edge"': "expected username and password together",
    f'{KAFKA}password = "{SECRET}"': "expected username and password together",
    f'{KAFKA}mechanism = "GSSAPI"': 'expected "SCRAM-SHA-512" or "SCRAM-SHA-256" or "PLAIN"',
    f'{KAFKA}ca_file = "/nowhere/ca.pem"': "expected a file that the daemon can read",
    f'{KAFKA}cert_file = "/dev/null"': "expected cert_file and key_file together",
    f"{KAFKA}batch_size = 0": "expected a whole number from 1 to 50000",
    f"{KAFKA}replay_rate = -1": "expected a number of entries a second from 0 to 1000000",
    f'{KAFKA}order = "random"': 'expected "live_first" or "strict"',
    f'{KAFKA}order = "strict"\nreplay_rate = 5': 'kafka.replay_rate: expected only with order = "live_first"',
    '[influxdb]\ntoken = "t"\nreplay_rate = 5': 'influxdb.replay_rate: expected only with order = "live_first"',
    "[pubsub]": "pubsub.project: missing; expected the id of a Google Cloud project",
    '[pubsub]\nproject = "My Project"': "expected the id of a Google Cloud project",
    f"{PUBSUB}batch_size = 1001": "expected a whole number from 1 to 1000",
    f'{PUBSUB}credentials = "{SECRET}"': "pubsub.credentials: expected the JSON key of a service account",
    f'{PUBSUB}credentials = \'{{"type": "{SECRET}"}}\'': "expected the JSON key of a service account",
    f'{PUBSUB}commands_topic = "c"': "expected 3 to 255 letters",
    '[cloud]\nallow_commands = "y"': "cloud.allow_commands: expected only with [kafka] or [pubsub]",
    '[cloud]\nallow_commands = "perhaps"': "cloud.allow_commands",
    "[cloud]\nallow_commands = true": "cloud.allow_commands: expected only with [kafka] or [pubsub]",
    f"[cloud]\npublish_commands = true\n{KAFKA}": "cloud.publish_commands: expected only with [pubsub]",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_each_mistake_is_named_with_what_was_expected(tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert MISTAKES[text] in problem


def test_what_is_right_together_is_no_mistake(tmp_path: Path) -> None:
    settings(tmp_path, f'{KAFKA}order = "strict"\n[cloud]\nallow_commands = true')
    settings(tmp_path, f"{PUBSUB}[cloud]\nallow_commands = true\npublish_commands = true")
    settings(tmp_path, f'{KAFKA}username = "u"\npassword = "p"\ncert_file = "/dev/null"\nkey_file = "/dev/null"')


@pytest.mark.parametrize(("table", "text"), [("kafka", KAFKA), ("pubsub", PUBSUB)])
def test_a_table_without_its_library_says_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, text: str
) -> None:
    """Before the daemon starts, not as a traceback after it."""
    monkeypatch.setitem(extras._MODULES, table, "no_such.module")
    (problem,) = problems(tmp_path, text)
    assert problem == f'{table}: expected the extra "{table}" to be installed: pip install "edge-energy[{table}]"'


HOSTS = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z]", fullmatch=True))


@given(st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, max_size=5))
def test_brokers_are_read_as_they_are_written(brokers: list[tuple[str, int]]) -> None:
    """IPv6 addresses stand in brackets, as librdkafka wants them."""
    written = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in brokers)
    assert values.brokers(written) == written.replace(", ", ",")
    assert Kafka(brokers=written).brokers == values.brokers(values.brokers(written))


@given(st.text(max_size=30))
def test_nothing_else_is_taken_for_brokers(text: str) -> None:
    try:
        found = values.brokers(text)
    except ValueError:
        return
    assert all(broker.rpartition(":")[2].isdecimal() for broker in found.split(","))


def test_no_secret_is_shown() -> None:
    shown = repr(Kafka(brokers="k:1", username="u", password=SecretStr(SECRET)))
    assert SECRET not in shown + repr(Pubsub(project="my-project-1", credentials=SecretStr(KEY)))

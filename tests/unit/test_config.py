"""The configuration: every promise about its sources, its checks and the words of its problems."""

from __future__ import annotations

import os
import re
import tomllib
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from edge_energy.config import DEFAULT_PATH, Http, Influxdb, Mqtt, Sensor, Settings, config_path, load, values
from edge_energy.config.problems import place
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).parents[2] / "config" / "edge-energy.toml"
SECRET = "hunter2-hunter2"
Texts = dict[str, str]


class Daemon:
    """Loads a configuration text with an environment and credentials."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "edge-energy.toml"
        self.credentials = folder / "credentials"

    def load(self, text: str = "", environ: Texts | None = None, credentials: Texts | None = None) -> Settings:
        """Return the settings."""
        self.file.write_text(text, "utf-8")
        self.credentials.mkdir(exist_ok=True)
        for name, secret in (credentials or {}).items():
            (self.credentials / name).write_text(secret, "utf-8")
        return load(self.file, {"CREDENTIALS_DIRECTORY": str(self.credentials)} | (environ or {}))

    def problems(self, text: str = "", environ: Texts | None = None, credentials: Texts | None = None) -> list[str]:
        """Return the problems, each on one line, and nothing secret anywhere in the traceback."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, environ, credentials)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert all(problem.isprintable() for problem in caught.value.problems)
        return [problem.replace(f"{self.file}: ", "") for problem in caught.value.problems]


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path)


# -- sources -------------------------------------------------------------------------------------------------


def test_the_file_is_the_option_s_the_environment_s_or_the_default() -> None:
    environ = {"EDGE_ENERGY_CONFIG": "/b"}
    assert config_path(Path("/a"), environ) == Path("/a")
    assert config_path(None, environ) == Path("/b")
    assert config_path(None, {}) == DEFAULT_PATH == Path("/etc/edge-energy/edge-energy.toml")


def test_only_the_default_file_may_be_absent(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    for path, environ in ((missing, {}), (None, {"EDGE_ENERGY_CONFIG": str(missing)})):
        with pytest.raises(ConfigError, match=rf"{missing}: cannot be read: No such file"):
            load(path, environ)
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(tmp_path, {})
    if not DEFAULT_PATH.exists():
        assert load(None, {}).mqtt == ()


def test_nothing_set_is_valid(daemon: Daemon) -> None:
    settings = daemon.load()
    assert (settings.appliance.id, settings.journal.max_size, settings.journal.keep) == (
        "house-1",
        2**30,
        604800,
    )
    assert (settings.mqtt, settings.influxdb) == ((), None)
    assert settings.appliance.runtime_dir == Path("/run/edge-energy")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nb = [1,\n c", "line 3, column 2"),
        ("a = 1\nb =", "line 2, column 4"),
        ("a = 1\na = 2", "line 2, column"),
    ],
)
def test_a_syntax_error_has_its_place(daemon: Daemon, text: str, where: str) -> None:
    assert where in daemon.problems(text)[0]


def test_a_file_in_another_encoding_is_no_traceback(daemon: Daemon) -> None:
    daemon.file.write_bytes('x = 1\nid = "é"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load(daemon.file, {})
    daemon.file.write_bytes(b'\xef\xbb\xbf[appliance]\r\nid = "x"\r\n')  # as Windows' editors save it
    assert load(daemon.file, {}).appliance.id == "x"


def test_the_environment_overrides_the_file_in_tables_and_lists(daemon: Daemon) -> None:
    text = '[appliance]\nid = "a"\n[[mqtt]]\nhost = "one"\nport = 1\n[[mqtt.sensors]]\ntopic = "t"\ndevice = "d"'
    environ = {
        "EDGE_ENERGY_APPLIANCE__ID": "b",
        "EDGE_ENERGY_MQTT__0__PORT": "2",
        "EDGE_ENERGY_MQTT__0__TLS": "true",
        "EDGE_ENERGY_MQTT__0__SENSORS__0__DEVICE": "e",
        "EDGE_ENERGY_MQTT__1__HOST": "two",
        "EDGE_ENERGY_INFLUXDB__TOKEN": "t",
        "EDGE_ENERGY_CONFIG": "/ignored",
        "UNRELATED": "x",
    }
    settings = daemon.load(text, environ)
    assert settings.appliance.id == "b"
    one, two = settings.mqtt
    assert (one.host, one.port, one.tls, one.sensors[0].device) == ("one", 2, True, "e")
    assert (two.host, two.client_id) == ("two", "edge-energy-b")
    assert settings.influxdb == Influxdb(token=SecretStr("t"))


def test_lists_in_the_environment_fill_from_their_beginning(daemon: Daemon) -> None:
    environ = {f"EDGE_ENERGY_MQTT__{n}__HOST": f"h{n}" for n in reversed(range(12))}
    assert [broker.host for broker in daemon.load("", environ).mqtt] == [f"h{n}" for n in range(12)]
    assert daemon.problems("", {"EDGE_ENERGY_MQTT__1__HOST": "h"})[0].startswith("EDGE_ENERGY_MQTT__1__HOST: mqtt[1]")
    for text in ("", "[[mqtt]]"):
        (problem,) = daemon.problems(text, {"EDGE_ENERGY_MQTT__HOST": "h"})
        assert problem.startswith("EDGE_ENERGY_MQTT__HOST: mqtt")
        assert "EDGE_ENERGY_MQTT__0__HOST" in problem


@pytest.mark.parametrize("name", ["INFLUXDB_TOKEN", "INFLUXDB", "INFLUXDB__", "Influxdb__Token", "APPLIANCE__0__ID"])
def test_a_variable_that_is_no_setting_is_a_problem(daemon: Daemon, name: str) -> None:
    (problem,) = daemon.problems("[appliance]", {f"EDGE_ENERGY_{name}": SECRET})
    assert problem.startswith(f"EDGE_ENERGY_{name}: ")
    assert "no such setting" in problem


def test_secrets_come_from_credentials(daemon: Daemon) -> None:
    text = '[[mqtt]]\nusername = "u"\npassword = "file"\n[[mqtt]]\nhost = "h"\nusername = "v"\n[influxdb]'
    secrets = {"mqtt.password": "p0", "mqtt.1.password": "p1\n", "influxdb.token": "t\r\n", "other": "x"}
    settings = daemon.load(text, credentials=secrets)
    assert [b.password.get_secret_value() for b in settings.mqtt if b.password] == ["p0", "p1"]
    assert settings.influxdb is not None
    assert settings.influxdb.token.get_secret_value() == "t"
    by_environment = daemon.load(text, {"EDGE_ENERGY_INFLUXDB__TOKEN": "e"}).influxdb
    assert by_environment is not None
    assert by_environment.token.get_secret_value() == "e"


def test_a_credential_alone_switches_nothing_on(daemon: Daemon) -> None:
    credentials = {
        "influxdb.token": "t",
        "mqtt.0.password": "p",
        "mqtt.password": "p",
        "influxdb": "x",
        "tls.key": "x",
    }
    settings = daemon.load(credentials=credentials)
    assert (settings.mqtt, settings.influxdb) == ((), None)


def test_a_credential_that_is_wrong_says_so(daemon: Daemon) -> None:
    problems = daemon.problems("[influxdb]", {}, {"influxdb.tokne": SECRET, "influxdb.token": f"{SECRET} x"})
    assert problems == [
        f"{daemon.credentials}/{name}"
        for name in (
            "influxdb.token: influxdb.token: expected the API token, printable characters without spaces",
            "influxdb.tokne: influxdb.tokne: no such setting; did you mean token?",
        )
    ]
    (daemon.credentials / "influxdb.token").write_bytes(b"\xff")
    assert "influxdb.token: cannot be read: not UTF-8" in daemon.problems("[influxdb]")[0]
    assert "CREDENTIALS_DIRECTORY" in daemon.problems("", {"CREDENTIALS_DIRECTORY": "/nonexistent"})[0]


OLD_NAMES = {
    "MQTT_BROKER_ADDRESS": "broker",
    "MQTT_BROKER_PORT": "1884",
    "MQTT_CLIENT_ID": "old",
    "INFLUXDB_URL": "http://db:8086",
    "INFLUXDB_ORG": "o",
    "INFLUXDB_BUCKET": "b",
    "INFLUXDB_TOKEN": SECRET,
}


def test_names_of_older_installations_work(daemon: Daemon) -> None:
    settings = daemon.load("", OLD_NAMES)
    assert settings.mqtt == (Mqtt(host="broker", port=1884, client_id="old"),)
    assert settings.influxdb == Influxdb(url="http://db:8086", org="o", bucket="b", token=SecretStr(SECRET))
    text = '[[mqtt]]\nhost = "broker"\nport = 1884\n[influxdb]\nurl = "http://db:8086/"'
    assert daemon.load(text, OLD_NAMES | {"INFLUXDB_ORG": ""}).influxdb == settings.influxdb.model_copy(
        update={"org": "home"}
    )


def test_an_old_name_that_contradicts_is_a_problem_that_names_both(daemon: Daemon) -> None:
    text = f'[[mqtt]]\nhost = "other"\n[influxdb]\ntoken = "{SECRET}2"'
    names = {name: OLD_NAMES[name] for name in ("MQTT_BROKER_ADDRESS", "INFLUXDB_TOKEN", "INFLUXDB_ORG")}
    assert daemon.problems(text, names | {"EDGE_ENERGY_INFLUXDB__ORG": "p"}) == [
        f'MQTT_BROKER_ADDRESS: mqtt[0].host = "broker": {daemon.file} says "other"; keep one of the two',
        'INFLUXDB_ORG: influxdb.org = "o": EDGE_ENERGY_INFLUXDB__ORG says "p"; keep one of the two',
        f"INFLUXDB_TOKEN: influxdb.token: {daemon.file} says something else; keep one of the two",
    ]
    (problem,) = daemon.problems("", {"INFLUXDB_TOKEN": SECRET}, {"influxdb.token": f"{SECRET}3"})
    assert problem.startswith(
        f"{daemon.credentials}/influxdb.token: influxdb.token: INFLUXDB_TOKEN says something else"
    )


def test_what_depends_on_the_machine(daemon: Daemon) -> None:
    environ = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "TZ": ":Europe/Paris"}
    appliance = daemon.load("", environ).appliance
    assert (appliance.runtime_dir, appliance.timezone) == (Path("/run/a"), "Europe/Paris")
    text = '[appliance]\nruntime_dir = "/x"\ntimezone = "Asia/Tokyo"'
    appliance = daemon.load(text, environ).appliance
    assert (appliance.runtime_dir, appliance.timezone) == (Path("/x"), "Asia/Tokyo")
    assert daemon.load("", {"TZ": "nonsense"}).appliance.timezone


def test_the_client_id_follows_the_appliance(daemon: Daemon) -> None:
    settings = daemon.load('[appliance]\nid = "barn"\n[[mqtt]]\n[[mqtt]]\nhost = "h"\nclient_id = "own"')
    assert [broker.client_id for broker in settings.mqtt] == ["edge-energy-barn", "own"]


# -- problems ------------------------------------------------------------------------------------------------

INFLUXDB = '[influxdb]\ntoken = "t"\n'
TLS = "[[mqtt]]\ntls = true\n"
SENSOR = '[[mqtt]]\n[[mqtt.sensors]]\ndevice = "d"\n'

MISTAKES = {
    '[appliance]\nid = "my house"': 'appliance.id = "my house": expected 1 to 64 letters, digits, . _ -',
    f'[appliance]\nid = "{"x" * 65}"': "expected 1 to 64",
    '[appliance]\nstate_dir = "here"': 'appliance.state_dir = "here": expected a path that begins with /',
    '[appliance]\ntimezone = "Europe/Pariss"': 'did you mean "Europe/Paris"?',
    '[appliance]\ntimezone = "../x"': "expected the name of a time zone",
    '[appliance]\nlog_level = "loud"': 'expected "info" or "debug" or "warning" or "error"',
    "appliance = 3": "appliance: expected a table: [appliance]",
    "[appliance]\ncolour = 1": "no such setting; known here: id, state_dir",
    '[journal]\nmax_size = "1MB"': 'journal.max_size = "1MB": expected a size from 16MiB to 16TiB',
    '[journal]\nkeep = "a week"': 'journal.keep = "a week": expected a duration from 0s to 3650d, like "7d"',
    "[mqtt]\nport = 1": "mqtt: expected a list: [[mqtt]] in the file",
    "[[mqtt]]\ncommit_intervall = 1": "commit_intervall: no such setting; did you mean commit_interval?",
    "[[mqtt]]\nport = 99999": "mqtt[0].port = 99999: expected a whole number from 1 to 65535",
    "[[mqtt]]\nport = true": "mqtt[0].port = true: expected a whole number",
    '[[mqtt]]\nhost = "mqtt://h"': "expected a host name or address, without mqtt:// and port",
    '[[mqtt]]\nhost = "192.168.1.300"': "expected a host name",
    '[[mqtt]]\nclient_id = ""': 'mqtt[0].client_id = "": expected a text',
    '[[mqtt]]\nprotocol = "4"': 'expected "auto" or "5" or "3.1.1"',
    '[[mqtt]]\ncommit_interval = "61s"': "expected a duration from 0s to 60s",
    "[[mqtt]]\nreceive_maximum = 0": "from 1 to 65535",
    "[[mqtt]]\nzigbee2mqtt_qos = 2": "expected 0 or 1",
    '[[mqtt]]\nzigbee2mqtt = "z/#"': "expected a topic without + and #",
    "[[mqtt]]\nzigbee2mqtt = true": "expected a topic without + and #",
    '[[mqtt]]\npassword = "p"': "mqtt[0].password: expected a username with it",
    '[[mqtt]]\nca_file = "/dev/null"': "expected only with tls = true",
    TLS + 'ca_file = "/nonexistent"': "expected a file that the daemon can read (No such file or directory)",
    TLS + 'cert_file = "/dev/null"': "mqtt[0].key_file: expected cert_file and key_file together",
    TLS + 'key_file = "/dev/null"': "mqtt[0].key_file = ",
    "[[mqtt]]\n[[mqtt]]\nzigbee2mqtt = false": "mqtt[1].client_id: expected another name than that of mqtt[0]",
    '[[mqtt]]\nclient_id = "a"\n[[mqtt]]': 'mqtt[1].zigbee2mqtt: "zigbee2mqtt" overlaps mqtt[0].zigbee2mqtt',
    '[[mqtt]]\n[[mqtt.sensors]]\ntopic = "t"': "sensors[0].device: missing; expected the id of the device",
    SENSOR + 'topic = "#"': "does not catch everything",
    SENSOR + 'topic = "+/+/#"': "does not catch everything",
    SENSOR + 'topic = "a/#/b"': "# only as the last level",
    SENSOR + 'topic = "a/b#"': "# only as the last level",
    SENSOR + 'topic = "a/b+/c"': "+ only as a whole level",
    SENSOR + 'topic = "$share/g/a"': "no shared subscription",
    SENSOR + 'topic = "+/bridge/#"': "zigbee2mqtt/bridge/definitions",
    SENSOR + 'topic = "zigbee2mqtt/garden/pump"': "overlaps mqtt[0].zigbee2mqtt",
    SENSOR + 'topic = "+/+/availability"': "overlaps mqtt[0].zigbee2mqtt",
    SENSOR + 'topic = "a/+"\n[[mqtt.sensors]]\ndevice = "e"\ntopic = "a/b"': (
        'mqtt[0].sensors[1].topic: "a/b" overlaps mqtt[0].sensors[0].topic = "a/+"'
    ),
    '[[mqtt]]\n[[mqtt.sensors]]\ntopic = "a/+"\ndevice = "{2}"': 'device = "{2}": expected at most {1}',
    '[[mqtt]]\n[[mqtt.sensors]]\ntopic = "a"\ndevice = "x{1}"': "expected no {…}: the topic has 0 +",
    '[[mqtt]]\n[[mqtt.sensors]]\ntopic = "a/+"\ndevice = "{name}"': "expected braces only around the number",
    SENSOR + 'topic = "t"\nkeys = { a = "power", b = "power" }': "expected every quantity once",
    SENSOR + 'topic = "t"\nkeys = { "a.b" = "no good" }': 'sensors[0].keys."a.b" = "no good": expected a table like',
    SENSOR + 'topic = "t"\nkeys = { a = "time" }': 'every message has a "time" of its own',
    SENSOR + 'topic = "t"\nenergy_unit = "MWh"': 'expected "Wh" or "kWh"',
    SENSOR + 'topic = "t"\nenergy_kind = "sum"': 'expected "counter" or "increment"',
    SENSOR + 'topic = "t"\nqos = 2': "qos = 2: expected 0 or 1",
    '[influxdb]\nurl = "http://h"': (
        "influxdb.token: missing; expected the API token, printable characters without spaces; "
        "set it in the file, in EDGE_ENERGY_INFLUXDB__TOKEN, or in the file influxdb.token of $CREDENTIALS_DIRECTORY"
    ),
    INFLUXDB + 'url = "localhost:8086"': 'url = "localhost:8086": expected an address like "http://127.0.0.1:8086"',
    INFLUXDB + 'url = "http://h:x"': "expected an address",
    INFLUXDB + "batch_size = 50001": "from 1 to 50000",
    INFLUXDB + 'gzip = "perhaps"': "expected true or false",
    "[influx]\nx = 1": "influx: no such setting; did you mean influxdb?",
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_problem_that_says_what_to_do(daemon: Daemon, text: str, expected: str) -> None:
    (problem,) = daemon.problems(text)
    assert expected in problem


def test_every_problem_is_reported_at_once(daemon: Daemon) -> None:
    text = (
        '[appliance]\nid = "!"\nidd = 1\n[journal]\nkeep = "x"\n'
        '[[mqtt]]\nport = 0\nca_file = "/nonexistent"\n[[mqtt.sensors]]\ntopic = "#"\n'
        '[[mqtt.sensors]]\ntopic = "a/+"\ndevice = "{3}"\n'
        '[[mqtt.sensors]]\ntopic = "a/b"\ndevice = "d"\nqos = 9\n'
        '[[mqtt]]\nhost = "h"\n[[mqtt]]\nhost = "H"\nzigbee2mqtt = false\n'
        "[influxdb]\nbatch_size = 0\n[extra]"
    )
    environ = {"EDGE_ENERGY_TYPO": "1", "INFLUXDB_ORG": "a", "EDGE_ENERGY_INFLUXDB__ORG": "b"}
    places = [
        *(
            "EDGE_ENERGY_TYPO",
            "influxdb.org",
            "appliance.id",
            "appliance.idd",
            "journal.keep",
            "mqtt[0].port",
        ),
        *("mqtt[0].ca_file", "sensors[0].topic", "sensors[0].device", "sensors[1].device", "sensors[2].qos"),
        *("influxdb.token", "influxdb.batch_size", "extra", "sensors[2].topic", "mqtt[2].client_id"),
    ]
    problems = daemon.problems(text, environ)
    assert len(problems) == len(places)
    for problem, expected in zip(problems, places, strict=True):
        assert f"{expected}:" in problem.replace(" = ", ":")


def test_a_problem_names_the_variable_it_comes_from(daemon: Daemon) -> None:
    name = "EDGE_ENERGY_MQTT__0__PORT"
    assert daemon.problems("[[mqtt]]", {name: "x"}) == [
        f'{name}: mqtt[0].port = "x": expected a whole number from 1 to 65535'
    ]
    assert daemon.problems("", {"MQTT_BROKER_PORT": "tcp://10.0.0.1:1883"})[0].startswith("MQTT_BROKER_PORT: mqtt[0]")
    assert daemon.problems("", {"RUNTIME_DIRECTORY": "run"})[0].startswith("RUNTIME_DIRECTORY: appliance.runtime_dir")


def test_problems_stay_on_their_line(daemon: Daemon) -> None:
    problems = daemon.problems('[appliance]\nid = "a\\nb\\u001b[31m"\n"x\\ny" = 1', {"EDGE_ENERGY_A__B": "\udcff"})
    assert len(problems) == 3
    assert len(daemon.problems(f'[appliance]\nlog_level = "{"x" * 5000}"')[0]) < 200


@pytest.mark.parametrize(
    "text",
    [
        f'[influxdb]\ntoken = "{SECRET}\\n"',
        f'[influxdb]\ntoken = ["{SECRET}"]',
        f'[influxdb]\ntoken = {{ x = "{SECRET}" }}',
        f'[influxdb]\ntokn = "{SECRET}"',
        f'influxdb = "{SECRET}"',
        f'influxdb = ["{SECRET}"]',
        f'mqtt = ["{SECRET}"]',
        f'token = "{SECRET}"',
        f'[influx]\ntoken = "{SECRET}"',
        f'{INFLUXDB}url = "ftp://user:{SECRET}@h"',
        f'{INFLUXDB}url = "http://user:{SECRET}/@h"',
        f'{INFLUXDB}url = "http://h/?p={SECRET}"',
        f'[[mqtt]]\nhost = "user:{SECRET}@h"',
        f'[[mqtt]]\npassword = "{SECRET}"',
        f'[[mqtt]]\nusername = "u"\npassword = ["{SECRET}"]',
        f'[[mqtt]]\npasword = "{SECRET}"',
    ],
)
def test_problems_tell_no_secrets(daemon: Daemon, text: str) -> None:
    daemon.problems(text)  # which looks for SECRET in the problems and the whole traceback


def test_settings_tell_no_secrets_and_cannot_change(daemon: Daemon) -> None:
    settings = daemon.load(f'[[mqtt]]\nusername = "u"\npassword = "{SECRET}"\n[influxdb]\ntoken = "{SECRET}"')
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    for table, key in ((settings, "mqtt"), (settings.appliance, "id"), (settings.mqtt[0], "port")):
        with pytest.raises(ValidationError):
            setattr(table, key, getattr(table, key))
    with pytest.raises(ValidationError) as caught:
        Influxdb(token=[SECRET])
    assert SECRET not in str(caught.value)


def test_every_secret_is_known_as_one() -> None:
    assert place(Settings, ("influxdb", "token")).secret
    assert place(Settings, ("mqtt", 0, "password")).secret
    assert not place(Settings, ("mqtt", 3, "sensors", 1, "topic")).secret


# -- meanings ------------------------------------------------------------------------------------------------


def test_a_sensor_is_what_its_block_says(daemon: Daemon) -> None:
    text = (
        '[[mqtt]]\n[[mqtt.sensors]]\ntopic = "house/+/+/#"\ndevice = "{2}-{1}"\ntime = "ts"\n'
        'energy_unit = "kWh"\nenergy_kind = "increment"\nqos = 0\nkeys = { "a.b" = "power" }'
    )
    assert daemon.load(text).mqtt[0].sensors == (
        Sensor(
            topic="house/+/+/#",
            device="{2}-{1}",
            time="ts",
            energy_unit="kWh",
            energy_kind="increment",
            qos=0,
            keys={"a.b": "power"},
        ),
    )


@pytest.mark.parametrize("none", ['""', "false"])
def test_zigbee2mqtt_can_be_absent(daemon: Daemon, none: str) -> None:
    assert daemon.load(f"[[mqtt]]\nzigbee2mqtt = {none}").mqtt[0].zigbee2mqtt == ""
    assert daemon.load("[[mqtt]]", {"EDGE_ENERGY_MQTT__0__ZIGBEE2MQTT": none.strip('"')}).mqtt[0].zigbee2mqtt == ""


def test_filters_with_no_topic_in_common_are_fine(daemon: Daemon) -> None:
    topics = ["+/sensor/+/state", "tele/+/SENSOR", "a/b", "a/c/#", "$SYS/broker/#"]
    sensors = "".join(f'[[mqtt.sensors]]\ntopic = "{topic}"\ndevice = "d"\n' for topic in topics)
    assert len(daemon.load(f'[[mqtt]]\n{sensors}[[mqtt]]\nhost = "h"\n{sensors}').mqtt) == 2


@pytest.mark.parametrize(
    ("url", "gzip", "used"),
    [
        ("http://127.0.0.1:8086", None, False),
        ("http://localhost", None, False),
        ("http://[::1]:8086/", None, False),
        ("https://db.example.org", None, True),
        ("http://192.168.1.2", None, True),
        ("http://localhost", True, True),
        ("https://db.example.org/prefix", False, False),
    ],
)
def test_compression_is_for_other_machines(url: str, gzip: bool | None, used: bool) -> None:  # noqa: FBT001
    settings = Influxdb(url=url, token=SecretStr("t"), gzip=gzip)
    assert settings.use_gzip is used
    assert not settings.url.endswith("/")


@pytest.mark.parametrize("host", ["h", "127.0.0.1", "::1", "[::1]", "a-b.example.org", "mosquitto_1", "büro.local"])
def test_hosts(host: str) -> None:
    assert values.host(host) == host.strip("[]")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("250ms", 0.25),
        ("7d", 604800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("0", 0),
        ("2.5", 2.5),
        (3, 3),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "5x", "m", "30m1h", "-1s", "1e3s", "٣s", True, None, [], "1" * 400 + "s"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        values.duration(text)


@given(st.tuples(*[st.integers(0, 999)] * 5))
def test_a_duration_is_the_sum_of_its_parts(parts: tuple[int, ...]) -> None:
    text = "".join(f"{n}{unit}" for n, unit in zip(parts, ("d", "h", "m", "s", "ms"), strict=True))
    d, h, m, s, ms = parts
    assert values.duration(text) == pytest.approx(d * 86400 + h * 3600 + m * 60 + s + ms / 1000)


@given(
    st.integers(0, 2**40),
    st.sampled_from(["", "B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "gib", "TiB"]),
)
def test_sizes(number: int, unit: str) -> None:
    power = "bkmgt".index(unit[:1].lower() or "b")
    expected = number * (1024 if "i" in unit else 1000) ** power
    assert values.size(f"{number}{unit}") == pytest.approx(expected, rel=1e-12)
    assert values.size(number) == number


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none(), st.lists(st.integers())))
def test_nonsense_is_a_value_error_at_most(value: object) -> None:
    for parse in (values.duration, values.size):
        with suppress(ValueError):
            assert parse(value) >= 0 or not isinstance(value, str)


LEVELS = st.lists(st.sampled_from(["a", "b", "$x", "+", "#", ""]), min_size=1, max_size=4)


@given(LEVELS, LEVELS, st.lists(st.sampled_from(["a", "b", "$x", ""]), min_size=1, max_size=4))
def test_filters_that_share_a_topic_overlap(one: list[str], other: list[str], topic: list[str]) -> None:
    def matches(levels: list[str]) -> bool:
        if topic[0].startswith("$") and levels[0] in ("+", "#"):
            return False
        for depth, level in enumerate(levels):
            if level == "#":
                return True
            if depth >= len(topic) or level not in ("+", topic[depth]):
                return False
        return len(levels) == len(topic)

    assert values.overlapping("/".join(one), "/".join(other)) is values.overlapping("/".join(other), "/".join(one))
    if matches(one) and matches(other):
        assert values.overlapping("/".join(one), "/".join(other))


@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_hostile_environments_end_in_settings_or_problems(tree: dict[str, str]) -> None:
    environ = {f"EDGE_ENERGY_{key}": value for key, value in tree.items()}
    environ |= {f"EDGE_ENERGY_MQTT__{key}".upper(): value for key, value in tree.items()}
    with suppress(ConfigError):
        load(Path(os.devnull), environ)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[shelly]]\nhost = "a"\n[[shelly]]\nhost = "a"\nport = 80', "shelly[1].host"),
        ('[[tuya]]\nproduct = "a"\n[[tuya]]\nproduct = "a"', "tuya[1].product"),
        ('[[tuya]]\ndevice = "a"\n[[tuya]]\ndevice = "a"', "tuya[1].device"),
    ],
)
def test_one_block_for_each_device(daemon: Daemon, text: str, problem: str) -> None:
    (found,) = daemon.problems(text)
    assert problem in found
    assert "one block for each" in found
    assert daemon.load(text.replace('"a"', '"b"', 1))


@pytest.mark.parametrize(
    "text",
    [
        '[http]\nallowed_hosts = ["http://pi"]',
        "[http]\nport = 0",
        "[http]\nrate_limit = 0",
        '[http]\nmax_body = "2MiB"',
        '[http]\ncert_file = "/dev/null"',
        '[[http.devices]]\ndevice = "a b"',
        '[[http.devices]]\ndevice = "a"\naddress = "192.168.1"',
        '[[http.devices]]\ndevice = "a"\nenergy_unit = "J"',
        '[[http.devices]]\ndevice = "a"\n[[http.devices]]\ndevice = "a"',
        '[[mqtt]]\nshelly = ["#"]',
        '[[mqtt]]\nshelly = ["house/"]',
        '[[shelly]]\nhost = "http://192.168.1.20"',
        '[[shelly]]\nhost = "a"\npoll = "1s"',
        '[[shelly]]\nhost = "a"\nusername = "a:b"',
        '[[tuya]]\nproduct = "a"\ndevice = "b"',
        "[[tuya]]",
        '[[tuya]]\nproduct = "a"\n[[tuya.codes]]\ncode = "x"\nquantity = "power"\nunit = "hp"',
        '[[tuya]]\nproduct = "a"\n[[tuya.codes]]\ncode = "x"\nquantity = "power"\nincrement = true',
    ],
)
def test_what_no_server_or_device_can_be_is_a_problem(daemon: Daemon, text: str) -> None:
    (found,) = daemon.problems(text)
    assert "expected" in found


# -- the sample ----------------------------------------------------------------------------------------------


def tables(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every table of the models, by its dotted name."""
    for key in model.model_fields:
        inner = place(model, (key,)).table
        if inner is not model:
            yield f"{name}{key}", inner
            yield from tables(inner, f"{name}{key}.")


def sample_tables() -> dict[str, list[dict[str, Any]]]:
    """Return all blocks of the sample, switched on, by their dotted names."""
    blocks: dict[str, list[dict[str, Any]]] = {}
    name = ""
    for line in re.sub(r"(?m)^#(?=\S)", "", SAMPLE.read_text("utf-8")).splitlines():
        if found := re.fullmatch(r"\[+([a-z0-9_.]+)]+", line):
            name = found[1]
            blocks.setdefault(name, []).append({})
        elif line and not line.startswith("#"):
            blocks[name][-1] |= tomllib.loads(line)
    return blocks


def test_the_sample_loads_as_it_is() -> None:
    settings = load(SAMPLE, {})
    assert settings.http == Http()
    assert settings.mqtt == (Mqtt(sensors=(Sensor(topic="dht11/sensor/data", device="dht11"),)),)
    assert settings.influxdb is None


def test_the_sample_loads_with_everything_switched_on(daemon: Daemon) -> None:
    text = re.sub(r"(?m)^#(?=\S)", "", SAMPLE.read_text("utf-8"))
    text = re.sub(r"(?m)^credentials_file = .*$", "", text)  # the other of two
    settings = daemon.load(re.sub(r"/etc/edge-energy/[\w-]+\.(pem|key)", "/dev/null", text))
    assert len(settings.mqtt) == 2
    assert settings.mqtt[1].key_file == Path("/dev/null")
    assert settings.influxdb is not None
    assert settings.http is not None
    assert (settings.http.devices[0].device, settings.shelly[0].poll, len(settings.tuya)) == ("boiler", 60, 2)
    assert [relay.lease for relay in settings.relay] == [120, 120]
    assert settings.homeassistant is not None
    assert settings.kafka is not None
    assert settings.kafka.brokers == "kafka1.example.org:9092,kafka2.example.org:9092"
    assert settings.pubsub is not None
    assert settings.pubsub.send_command_subscription == "send_command-house-1"


def test_the_sample_and_the_models_have_the_same_settings() -> None:
    blocks, models = sample_tables(), dict(tables(Settings))
    assert blocks.keys() == models.keys()
    for name, model in models.items():
        shown = {key for block in blocks[name] for key in block}
        assert shown == {key for key in model.model_fields if f"{name}.{key}" not in models}, name


REQUIRED = {
    "influxdb": ["token"],
    "kafka": ["brokers"],
    "pubsub": ["project"],
    "mqtt.sensors": ["topic", "device"],
    "http.devices": ["device"],
    "shelly": ["host"],
    "tuya": ["product"],
    "tuya.codes": ["code", "quantity"],
    "relay": ["device", "safe_state"],
    "interlock": ["relays"],
    "budget": ["limit", "relays"],
    "schedule": ["relay", "start", "end", "surplus", "meter"],
}
"""What each table cannot be without."""


@pytest.mark.parametrize(("name", "model"), list(tables(Settings)))
def test_the_sample_shows_the_defaults(name: str, model: type[BaseModel]) -> None:
    for key, field in model.model_fields.items():
        if (
            not field.is_required()
            and field.default not in (None, {}, ())
            and f"{name}.{key}" != "appliance.timezone"
        ):
            shown = next(block for block in sample_tables()[name] if key in block)
            needed = {each: shown[each] for each in REQUIRED.get(name, ()) if each in shown}
            assert getattr(model(**needed | {key: shown[key]}), key) == field.default, key


def test_every_setting_of_the_sample_is_explained() -> None:
    text = SAMPLE.read_text("utf-8")
    for block in re.split(r"\n\n+", text.partition("[appliance]")[2]):
        settings = [line for line in block.splitlines() if re.match(r"#?\w+ = ", line)]
        if settings and "broker.example.org" not in block:
            assert block.lstrip().startswith("# "), settings
            assert re.match(r"# [^\n]+", block.lstrip())
    for old in OLD_NAMES:
        assert old in text

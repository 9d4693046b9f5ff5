"""Whoever looks at the configuration of an appliance sees what its daemon sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_energy.cli import main
from edge_energy.config import credstore, sources
from edge_energy.config.credstore import daemon_environment, load_as_daemon
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TABLE = '[influxdb]\nurl = "http://127.0.0.1:8086"\norg = "home"\nbucket = "energy"\n'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the store of an appliance, with the token of its database and what belongs to others."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    found = tmp_path / "credstore"
    found.mkdir()
    (found / "edge-energy.influxdb.token").write_text("of-the-daemon\n")
    (found / "other.influxdb.token").write_text("of-somebody-else\n")
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "edge-energy.toml"
    file.write_text(TABLE)
    return file


def test_the_settings_have_the_secrets_of_the_unit(store: Path, config: Path) -> None:
    """And afterwards nothing is left of the directory that systemd would have made."""
    settings = load_as_daemon(config, store)
    assert settings.influxdb is not None
    assert settings.influxdb.token.get_secret_value() == "of-the-daemon"
    with daemon_environment(store) as environ:
        made = environ["CREDENTIALS_DIRECTORY"]
    assert made not in {str(path) for path in store.parent.iterdir()}


def test_a_bad_secret_is_told_of_the_file_that_people_know(store: Path, config: Path) -> None:
    (store / "edge-energy.influxdb.token").write_text("two words")
    with pytest.raises(ConfigError) as caught:
        load_as_daemon(config, store)
    assert caught.value.problems[0].startswith(f"{store}/edge-energy.influxdb.token: ")


def test_check_sees_what_the_daemon_sees(store: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an appliance: there the secrets are not in the environment of whoever checks."""
    monkeypatch.setattr(credstore.load_as_daemon, "__defaults__", (store,))
    monkeypatch.setenv("EDGE_ENERGY_CONFIG", str(config))
    refused = CliRunner().invoke(main, ["check"])
    assert (refused.exit_code, "influxdb.token" in refused.output) == (78, True), "elsewhere it has no secrets"
    monkeypatch.setattr(sources, "DEFAULT_PATH", config)
    monkeypatch.setattr("edge_energy.config.DEFAULT_PATH", config)
    assert CliRunner().invoke(main, ["check"]).exit_code == 0

"""The configuration that install.sh makes: valid, of the sample, and the operator's from then on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.config import load
from edge_energy.setup.config import add_table, fill, literal, new_settings

SAMPLE = (Path(__file__).parents[3] / "config/edge-energy.toml").read_text("utf-8")
VALUES: dict[tuple[str, str], str | int] = {("mqtt", "username"): "edge-energy", ("http", "port"): 8123}


def test_only_the_few_values_are_set() -> None:
    """Every other line is the annotated sample's, comments included."""
    filled = fill(SAMPLE, VALUES)
    changed = [line for line, old in zip(filled.splitlines(), SAMPLE.splitlines(), strict=True) if line != old]
    assert changed == ['username = "edge-energy"', "port = 8123"]


def test_what_is_made_is_valid(tmp_path: Path) -> None:
    """With the broker's password, which the unit hands over as a credential."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(fill(SAMPLE, VALUES))
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/mqtt.password").write_text("secret\n")
    settings = load(file, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert settings.mqtt[0].username == "edge-energy"
    assert settings.http is not None
    assert settings.http.port == 8123


def test_a_setting_that_is_not_in_the_sample_is_a_defect() -> None:
    with pytest.raises(KeyError, match="brightness"):
        fill(SAMPLE, {("http", "brightness"): 1})


def test_a_table_is_added_once_and_at_the_end() -> None:
    """A later run finds it and changes nothing; what the operator wrote stays as it is."""
    text = '[appliance]\nid = "a"  # mine\n'
    added = add_table(text, "influxdb", {"url": "http://127.0.0.1:8086"}, "Here since install.sh --with-influxdb.")
    assert added.startswith(text)
    assert tomllib.loads(added)["influxdb"] == {"url": "http://127.0.0.1:8086"}
    assert add_table(added, "influxdb", {"url": "another"}, "again") == added


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")))
def test_any_value_survives(value: str) -> None:
    """Quotes, newlines and accents included."""
    assert tomllib.loads(add_table("", "influxdb", {"org": value}, "x"))["influxdb"]["org"] == value


def test_new_settings_are_told_with_their_table() -> None:
    old = "[http]\n#port = 8000\n#[influxdb]\n#url = 1\n"
    new = "[http]\n#port = 8000\n#host = 1\n#[[http.devices]]\n#device = 1\n#[influxdb]\n#url = 1\n"
    assert new_settings(old, new) == ["[http] host", "[http.devices] device"]
    assert new_settings(new, old) == []


@pytest.mark.parametrize(("value", "expected"), [(True, "true"), (8000, "8000"), ("a", '"a"')])
def test_literals(value: str | int, expected: str) -> None:
    assert literal(value) == expected

"""Credentials: a service account signs for itself, and what is wrong with a key is told without showing it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import google.auth
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, TransportError

from edge_energy.config import Pubsub
from edge_energy.errors import Unavailable
from edge_energy.messages import Messages
from edge_energy.pubsub import client
from edge_energy.sinks.pubsub import PubsubSink
from tests.servers.base import HOST, free_port
from tests.servers.certificates import make_certificates
from tests.unit.pubsub.service import Service
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.certificates import Certificates

ACCOUNT = "edge@my-project-1.iam.gserviceaccount.com"


class Key:
    """A throw-away service account; nobody answers at its token endpoint."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.json: dict[str, Any] = {
            "type": "service_account",
            "project_id": "my-project-1",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": f"http://{HOST}:{free_port()}/token",
        }

    @property
    def public(self) -> bytes:
        """What a token is verified with."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


@pytest.fixture(scope="session", autouse=True)
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    """Let gRPC trust an authority of ours; it looks once in its life, so before the first test."""
    made = make_certificates(tmp_path_factory.mktemp("certificates"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(made.ca))
        yield made


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


@pytest.fixture(autouse=True)
def _no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


async def write(credentials: Any = None) -> None:
    told = {"credentials": json.dumps(credentials)} if credentials else {}
    settings = Pubsub.model_validate({"project": "my-project-1", "timeout": "5s"} | told)
    async with asyncio.timeout(10), PubsubSink(settings, Messages("house-1", "j")) as sink:
        await sink.write([entry(1)])


async def test_a_service_account_signs_for_itself(
    key: Key, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token endpoint has to be reached first, and the token is for Pub/Sub alone."""
    async with Service(certificates) as service:
        monkeypatch.setattr(client, "HOST", service.host)
        await write(key.json)
    token = service.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, key.public, audience="https://pubsub.googleapis.com/")
    assert (claims["iss"], claims["sub"]) == (ACCOUNT, ACCOUNT)


async def test_the_key_may_be_where_google_s_libraries_look(
    key: Key, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key.json))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    async with Service(certificates) as service:
        monkeypatch.setattr(client, "HOST", service.host)
        await write()
    assert service.headers["authorization"].startswith("Bearer ")


class Ambient(Credentials):
    """Credentials that need a token from somewhere that cannot be reached."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def refresh(self, request: Any) -> None:
        """See `google.auth.credentials.Credentials`."""
        del request
        raise TransportError("Failed to reach the token endpoint")


async def test_a_token_that_cannot_be_got_is_told_as_that(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pub/Sub itself is there: it is not that which cannot be reached."""
    monkeypatch.setattr(google.auth, "default", lambda: (Ambient(), "my-project-1"))
    async with Service(certificates) as service:
        monkeypatch.setattr(client, "HOST", service.host)
        with pytest.raises(
            Unavailable, match=r"cannot get a token for Pub/Sub: look at \[pubsub\] credentials"
        ) as told:
            await write()
    assert "Failed to reach the token endpoint" in str(told.value)
    assert service.requests == []


@pytest.mark.parametrize("broken", ["-----BEGIN PRIVATE KEY-----\nZm9v\n-----END PRIVATE KEY-----\n", "secret", ""])
async def test_a_broken_key_is_told_and_not_shown(key: Key, broken: str) -> None:
    with pytest.raises(Unavailable, match=r"correct \[pubsub\] credentials") as told:
        await write(key.json | {"private_key": broken})
    assert not broken or broken.splitlines()[-1] not in str(told.value)
    assert told.value.__cause__ is None


async def test_a_key_that_lacks_something_says_what(key: Key) -> None:
    lacking = {name: value for name, value in key.json.items() if name != "client_email"}
    with pytest.raises(Unavailable, match=r"correct \[pubsub\] credentials \(.*client_email"):
        await write(lacking)


async def test_where_there_are_no_credentials_both_ways_to_give_them_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def default() -> Any:
        raise DefaultCredentialsError("Your default credentials were not found.\nTo set up…")

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(Unavailable, match=r"\[pubsub\] credentials .* GOOGLE_APPLICATION_CREDENTIALS") as told:
        await write()
    assert "\n" not in str(told.value)


async def test_credentials_that_nobody_finds_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's libraries ask a virtual machine's metadata server, which may be silent."""
    found = threading.Event()

    def default() -> Any:
        found.wait()

    monkeypatch.setattr(google.auth, "default", default)
    try:
        with pytest.raises(Unavailable, match=r"within 1 s: set \[pubsub\] credentials"):
            async with asyncio.timeout(10):
                await client.publisher(Pubsub(project="my-project-1", timeout=1.0))
    finally:
        found.set()


async def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(Unavailable, match=r"/nowhere/key\.json"):
        await write()


async def test_the_service_is_asked_for_by_its_name(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is told with its name; here a proxy refuses the way there."""
    monkeypatch.setenv("grpc_proxy", f"http://{HOST}:{free_port()}")
    with pytest.raises(Unavailable, match=r"cannot reach pubsub\.googleapis\.com"):
        await write(key.json)

"""The command line's questions are answered, or it is said why not and what to do."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from edge_energy import client
from edge_energy.client import NoDaemon, Refused, ask, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Answer one question on a socket with these bytes, and hang up."""
    threads = []

    def answer(data: bytes) -> Path:
        path = tmp_path / "api.sock"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            with listening, listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(data)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield answer
    for thread in threads:
        thread.join()


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_an_answer_is_decoded(daemon: Callable[[bytes], Path]) -> None:
    """The plain case."""
    assert ask(daemon(response(200, b'{"a": [1, null]}')), "GET", "/status") == {"a": [1, None]}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b'{"error": "no sink named x"}', "^no sink named x$"),
        (500, b"Traceback \xff", "^The daemon answered 500: Traceback"),
        (503, b"[]", "^The daemon answered 503"),
        (400, b'{"other": 1}', "^The daemon answered 400"),
    ],
)
def test_a_refusal_is_explained(daemon: Callable[[bytes], Path], status: int, body: bytes, words: str) -> None:
    """The daemon's own words where it has some."""
    with pytest.raises(Refused, match=words):
        ask(daemon(response(status, body)), "POST", "/journal/retry")


NONSENSE = [
    b"",
    b"what?\r\n",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\nhalf",
    b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}more",
    b"HTTP/1.1 200 X\r\n\r\n{}",
    b"SSH-2.0-x Content-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("data", NONSENSE)
def test_nonsense_is_a_daemon_that_does_not_answer(daemon: Callable[[bytes], Path], data: bytes) -> None:
    """No traceback for a daemon that dies while it answers."""
    with pytest.raises(NoDaemon, match="does not answer"):
        ask(daemon(data), "GET", "/status")


def test_no_daemon_says_how_to_start_one(tmp_path: Path) -> None:
    """Neither a missing socket nor one that was left behind is a riddle."""
    path = tmp_path / "api.sock"
    with pytest.raises(NoDaemon, match=r"No daemon listens on .*Start it"):
        ask(path, "GET", "/status")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(NoDaemon, match="No daemon listens on"):
        ask(path, "GET", "/status")


def test_what_is_asked_arrives_whole(tmp_path: Path) -> None:
    """Also a body of many packets, and an answer of many."""
    body, asked = {"text": "é" * 300_000}, bytearray()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "api.sock"))
        listening.listen()

        def serve() -> None:
            with listening.accept()[0] as connection:
                while b"\r\n\r\n" not in asked or len(asked.partition(b"\r\n\r\n")[2]) < 1_800_000:
                    asked.extend(connection.recv(65536))
                connection.sendall(response(200, bytes(asked.partition(b"\r\n\r\n")[2])))

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(tmp_path / "api.sock", "POST", "/echo?a=1", body) == body
        thread.join()
    assert asked.startswith(b"POST /echo?a=1 HTTP/1.0\r\nHost: localhost\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in asked


def test_a_daemon_that_hangs_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends and says so."""
    monkeypatch.setattr(client, "TIMEOUT", 0.05)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "api.sock"))
        hanging.listen()
        with pytest.raises(NoDaemon, match="does not answer: timed out"):
            ask(tmp_path / "api.sock", "GET", "/status")


def test_who_may_not_use_the_socket_is_told_who_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The socket's permissions are its authorisation."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refused)
    with pytest.raises(NoDaemon, match="member of the group edge-energy"):
        ask(tmp_path / "api.sock", "GET", "/status")


def test_the_socket_is_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named or in the environment; without any, the installed daemon's."""
    monkeypatch.delenv("EDGE_ENERGY_CONFIG", raising=False)
    assert client.find_socket(None) == client.DEFAULT_SOCKET
    config = tmp_path / "edge-energy.toml"
    config.write_text(f'[appliance]\nruntime_dir = "{tmp_path}"\n')
    assert client.find_socket(config) == tmp_path / "api.sock"
    monkeypatch.setenv("EDGE_ENERGY_CONFIG", str(config))
    assert client.find_socket(None) == tmp_path / "api.sock"


def test_a_stream_is_yielded_line_by_line(daemon: Callable[[bytes], Path]) -> None:
    """Empty lines only show that the daemon is there; the end of the connection is the end."""
    path = daemon(b'HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\n\n{"a":1}\n\n{"a":2}\n')
    assert list(stream(path, "/forward/tail")) == [{"a": 1}, {"a": 2}]


def test_a_stream_that_is_refused_says_why(daemon: Callable[[bytes], Path], tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^no sink$"):
        list(stream(daemon(response(404, b'{"error": "no sink"}')), "/forward/tail"))
    with pytest.raises(NoDaemon, match="No daemon listens"):
        list(stream(tmp_path / "nowhere", "/forward/tail"))


def test_a_stream_that_never_begins_is_no_daemon(daemon: Callable[[bytes], Path]) -> None:
    with pytest.raises(NoDaemon, match=r"broke off"):
        list(stream(daemon(b""), "/forward/tail"))

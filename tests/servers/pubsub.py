"""The Pub/Sub emulator of Google's Cloud SDK, asked over REST: neither our code nor Google's clients."""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import java
from .base import HOST, MissingError, ServerError, apt_install, find_binary, require
from .process import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "pubsub-emulator"
TOPICS = ("shelly_data", "commands", "incidents", "appliance", "send_command")


class Message(NamedTuple):
    """One message as a subscription delivers it; published in seconds since 1970."""

    id: str
    data: bytes
    attributes: dict[str, str]
    ordering_key: str
    published_at: float
    ack_id: str


def find() -> Path | None:
    """Return its jar, when there is a Java: $PUBSUB_EMULATOR_JAR, or in the Cloud SDK that has `gcloud`."""
    jar = _jar()
    return jar if jar and java.find() else None


def make() -> Path:
    """Install the package of Google's own Debian archive, where that is among the machine's sources."""
    java.make()
    if not _jar():
        try:
            apt_install("google-cloud-cli-pubsub-emulator")
        except MissingError as error:
            raise MissingError(
                f"{error}. The emulator comes with Google's Cloud SDK: `gcloud components install pubsub-emulator`, "
                "or the Debian package google-cloud-cli-pubsub-emulator of Google's archive "
                "(https://cloud.google.com/sdk/docs/install#deb); else name its jar in PUBSUB_EMULATOR_JAR"
            ) from error
    return require(sys.modules[__name__])


def _jar() -> Path | None:
    if named := os.environ.get("PUBSUB_EMULATOR_JAR"):
        return Path(named)
    gcloud = find_binary("gcloud")
    if gcloud is None:
        return None
    library = gcloud.resolve().parent.parent / "platform" / "pubsub-emulator" / "lib"
    return max(library.glob("cloud-pubsub-emulator-*.jar"), default=None)


class Pubsub(Server):
    """One emulator; `host` is what PUBSUB_EMULATOR_HOST wants, `project` the one in which all questions are asked.

    Names are short: "shelly_data" is `projects/PROJECT/topics/shelly_data`. It keeps everything in memory: after a
    kill it is empty. It knows no permissions.
    """

    def __init__(self) -> None:
        jar = require(sys.modules[__name__])
        super().__init__(require(java))
        self.host = f"{HOST}:{self.port}"
        self.project = "project-0"
        self.arguments += ["-Xmx256m", *java.FLAGS, "-jar", str(jar), f"--host={HOST}", f"--port={self.port}"]
        self._projects = itertools.count(1)

    def answers(self) -> bool:
        """Whether it says Ok."""
        try:
            return self._request("GET", "/", timeout=1).strip() == b"Ok"
        except (OSError, HTTPException, ServerError):
            return False

    def fresh_project(self, *, topics: bool = True) -> str:
        """Ask in a new project from now on: the appliance's topics, each with a subscription of the same name."""
        self.project = f"project-{next(self._projects)}"
        for topic in TOPICS if topics else ():
            self.create_topic(topic)
            self.create_subscription(topic, topic)
        return self.project

    def create_topic(self, name: str) -> None:
        """Make a topic; names have 3 characters at least."""
        self._call("PUT", f"topics/{name}", {})

    def delete_topic(self, name: str) -> None:
        """Remove a topic; its subscriptions stay and hear nothing more."""
        self._call("DELETE", f"topics/{name}")

    def create_subscription(self, name: str, topic: str, *, ordered: bool = True, ack_deadline: int = 10) -> None:
        """Subscribe to what is published from now on; a message not acknowledged in 10 to 600 s comes again."""
        options = {"enableMessageOrdering": ordered, "ackDeadlineSeconds": ack_deadline}
        self._call("PUT", f"subscriptions/{name}", {"topic": self._path(f"topics/{topic}"), **options})

    def subscriptions(self) -> list[str]:
        """Return the names of all subscriptions of the project."""
        answer = self._call("GET", "subscriptions?pageSize=1000")
        return sorted(each["name"].rpartition("/")[2] for each in answer.get("subscriptions", []))

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str] | None = None, ordering_key: str = ""
    ) -> str:
        """Publish one message and return the id that it was given."""
        message: dict[str, Any] = {"data": base64.b64encode(data).decode(), "attributes": dict(attributes or {})}
        if ordering_key:
            message["orderingKey"] = ordering_key
        answer = self._call("POST", f"topics/{topic}:publish", {"messages": [message]})
        return str(answer["messageIds"][0])

    def pull(self, subscription: str, *, acknowledge: bool = True) -> list[Message]:
        """Return all that waits in the subscription, in the order in which it comes."""
        messages: list[Message] = []
        where, at_once = f"subscriptions/{subscription}", {"maxMessages": 1000, "returnImmediately": True}
        while received := self._call("POST", f"{where}:pull", at_once).get("receivedMessages", []):
            batch = [_message(each) for each in received]
            messages += batch
            if acknowledge:
                self.acknowledge(subscription, *batch)
        return messages

    def acknowledge(self, subscription: str, *messages: Message) -> None:
        """Let the subscription forget these messages."""
        ids = [message.ack_id for message in messages]
        self._call("POST", f"subscriptions/{subscription}:acknowledge", {"ackIds": ids})

    def give_back(self, subscription: str, *messages: Message) -> None:
        """Have these messages delivered again at once."""
        ids = [message.ack_id for message in messages]
        self._call(
            "POST", f"subscriptions/{subscription}:modifyAckDeadline", {"ackIds": ids, "ackDeadlineSeconds": 0}
        )

    def _path(self, name: str) -> str:
        return f"projects/{self.project}/{name}"

    def _call(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self._request(method, f"/v1/{self._path(name)}", content))
        return answer

    def _request(self, method: str, path: str, body: bytes | None = None, timeout: float = 30) -> bytes:
        with closing(HTTPConnection(HOST, self.port, timeout=timeout)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 300:
            raise ServerError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return answer


def _message(received: dict[str, Any]) -> Message:
    message = received["message"]
    return Message(
        message["messageId"],
        base64.b64decode(message.get("data", "")),
        message.get("attributes", {}),
        message.get("orderingKey", ""),
        datetime.fromisoformat(message["publishTime"]).timestamp(),
        received["ackId"],
    )

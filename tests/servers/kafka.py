"""Apache Kafka: one broker in KRaft mode that asks for passwords, certificates and permissions."""

from __future__ import annotations

import itertools
import subprocess
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from . import java, kafka_jars, kcat
from .base import HOST, accepts, free_port, require, wait_until
from .certificates import make_certificates
from .process import Server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from typing import Self


class Kafka(Server):
    """One broker; `topics` are those of this test, by the name of their setting, as `fresh_topics` made them.

    `brokers` takes everybody, `sasl_brokers` wants TLS and a password (SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN),
    `mtls_brokers` a client's certificate, and `proxied_brokers` is a `ProduceProxy` in front of `brokers`.
    `user` may do everything but what a test forbids; `reader` may look at topics, and no more: neither write nor
    have a consumer group. Topics, data and ports outlive a kill.
    """

    def __init__(self) -> None:
        jars = require(kafka_jars)
        super().__init__(require(java))
        self.user, self.password = "edge", "password-of-edge"
        self.reader, self.reader_password = "reader", "password-of-reader"
        self.certificates = make_certificates(self.directory / "certificates", self.user)
        self.behind_proxy, self.proxy_port = free_port(), free_port()
        ports = {name: free_port() for name in ("SASL_SSL", "SSL", "CONTROLLER")}
        self._listeners = {"PLAINTEXT": self.port, "PROXIED": self.behind_proxy, **ports}
        self.brokers = f"{HOST}:{self.port}"
        self.sasl_brokers = f"{HOST}:{ports['SASL_SSL']}"
        self.mtls_brokers = f"{HOST}:{ports['SSL']}"
        self.proxied_brokers = f"{HOST}:{self.proxy_port}"
        self.topics: dict[str, str] = {}
        self._tests = itertools.count(1)
        self._configuration = self.directory / "server.properties"
        self._java = [*self.arguments, "-Xmx256m", *java.FLAGS, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        self._java += ["-cp", str(jars / "*")]
        self.arguments = [*self._java, "kafka.Kafka", str(self._configuration)]

    def __enter__(self) -> Self:
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        self._format()
        super().__enter__()
        try:
            self._allow_users()
        except BaseException:
            self.__exit__()  # nobody else ends it
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # nobody wants its data any more
        super().__exit__()

    def answers(self) -> bool:
        """Whether it tells a client its topics, and each partition has a leader."""
        return accepts(self.port) and kcat.all_led(self)

    def create_topic(self, name: str, partitions: int = 1, **config: Any) -> str:
        """Make a topic and return its name; `max_message_bytes=1000` sets its `max.message.bytes`."""
        self._create([name], partitions, config)
        return name

    def fresh_topics(self, partitions: int = 1) -> dict[str, str]:
        """Make new, empty topics for all that the appliance sends and hears: what `[kafka]` needs of them."""
        test = next(self._tests)
        self.topics = {
            "readings_topic": f"shelly_data-{test}",
            "commands_topic": f"commands-{test}",
            "incidents_topic": f"incidents-{test}",
            "appliance_topic": f"appliance-{test}",
            "send_command_topic": f"send_command-{test}",
        }
        self._create(list(self.topics.values()), partitions, {})
        return self.topics

    def forbid_writing(self, topic: str) -> None:
        """Let `user` no longer write to this topic; it may still describe and read it."""
        denied = self._permission(ResourceType.TOPIC, topic, self.user, AclOperation.WRITE, AclPermissionType.DENY)
        self._set(denied)

    def _admin(self) -> AdminClient:
        # One for each question: a client that stays would complain on stderr about every kill.
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def _create(self, names: list[str], partitions: int, config: dict[str, Any]) -> None:
        admin = self._admin()
        with_dots = {key.replace("_", "."): str(value) for key, value in config.items()}
        wanted = {name: NewTopic(name, partitions, 1, config=with_dots) for name in names}

        def made() -> bool:
            for name, future in admin.create_topics([*wanted.values()]).items():
                try:
                    future.result(timeout=30)
                except KafkaException as error:
                    # A broker that was frozen is not there for the controller, until it hears from it again.
                    if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                        raise
                else:
                    del wanted[name]
            return not wanted

        wait_until(made, 30, "a broker for the new topics")

        def led() -> bool:
            known = admin.list_topics(timeout=10).topics
            return all(
                name in known
                and len(known[name].partitions) == partitions
                and all(partition.leader >= 0 for partition in known[name].partitions.values())
                for name in names
            )

        # The broker hears from the controller a moment later than we do.
        wait_until(led, 30, "leaders of the new topics")

    def _allow_users(self) -> None:
        allow = AclPermissionType.ALLOW
        kinds = [(ResourceType.TOPIC, "*"), (ResourceType.GROUP, "*"), (ResourceType.BROKER, "kafka-cluster")]
        everything = [self._permission(kind, name, self.user, AclOperation.ALL, allow) for kind, name in kinds]
        look = [AclOperation.READ, AclOperation.DESCRIBE]
        reading = [self._permission(ResourceType.TOPIC, "*", self.reader, each, allow) for each in look]
        self._set(*everything, *reading)

    def _set(self, *permissions: AclBinding) -> None:
        admin = self._admin()  # its answers come while it lives
        _done(admin.create_acls(list(permissions)).values())
        # As with topics, the broker hears of them a moment later.
        wait_until(lambda: all(_known(admin, each) for each in permissions), 30, "the new permissions")

    @staticmethod
    def _permission(
        kind: ResourceType, name: str, user: str, operation: AclOperation, permission: AclPermissionType
    ) -> AclBinding:
        return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, permission)

    def _format(self) -> None:
        users = {self.user: self.password, self.reader: self.reader_password}
        command = [*self._java, "kafka.tools.StorageTool", "format", "-t", "ZWRnZS1lbmVyZ3ktdGVzdA"]
        command += ["-c", str(self._configuration)]
        for mechanism, (user, password) in itertools.product(("SCRAM-SHA-512", "SCRAM-SHA-256"), users.items()):
            command += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        subprocess.run(command, check=True, capture_output=True)

    def _settings(self) -> dict[str, object]:
        """Return its configuration file: https://kafka.apache.org/39/documentation.html#brokerconfigs."""
        made = self.certificates
        key_and_certificate = self.directory / "certificates" / "broker.pem"
        key_and_certificate.write_text(made.server_key.read_text() + made.server.read_text())
        advertised = {**self._listeners, "PROXIED": self.proxy_port}
        del advertised["CONTROLLER"]
        plain = f'user_{self.user}="{self.password}" user_{self.reader}="{self.reader_password}"'
        security = "org.apache.kafka.common.security"
        scram = f"{security}.scram.ScramLoginModule required;"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{self._listeners['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "listeners": _addresses(self._listeners),
            "advertised.listeners": _addresses(advertised),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ",SASL_SSL:SASL_SSL,SSL:SSL",
            "log.dirs": self.directory / "data",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": key_and_certificate,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": made.ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {plain};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:CN={self.user}",
            "broker.session.timeout.ms": 2000,  # so long after a kill the controller takes the dead one for alive
            "broker.heartbeat.interval.ms": 200,
            "log.cleaner.dedupe.buffer.size": 4 << 20,  # of 128 MiB, which would be most of the heap
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.retention.ms": -1,  # 30 s after its start the broker would delete what tests date months ago
        }


def _addresses(listeners: dict[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())


def _done(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.result(timeout=30)


def _known(admin: AdminClient, permission: AclBinding) -> bool:
    """Whether the broker itself, which decides, has a permission."""
    pattern = permission.restype, permission.name, permission.resource_pattern_type
    who = permission.principal, permission.host
    alike = AclBindingFilter(*pattern, *who, permission.operation, permission.permission_type)
    return bool(admin.describe_acls(alike).result(timeout=30))

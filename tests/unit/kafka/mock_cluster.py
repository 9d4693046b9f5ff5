"""librdkafka's own mock cluster: brokers that answer as they are told, for what a real one never says on demand."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_int16, c_size_t, c_void_p
from pathlib import Path
from typing import Self

import confluent_kafka

PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22
"""Numbers of the requests, as https://kafka.apache.org/protocol#protocol_api_keys has them."""
_PRODUCER = 0
_PROTOTYPES = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_mock_cluster_new": (c_void_p, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [c_void_p]),
    "rd_kafka_mock_topic_create": (c_int, [c_void_p, c_char_p, c_int, c_int]),
    "rd_kafka_mock_partition_set_leader": (c_int, [c_void_p, c_char_p, c_int, c_int]),
    "rd_kafka_mock_broker_set_rtt": (c_int, [c_void_p, c_int, c_int]),
    "rd_kafka_mock_start_request_tracking": (None, [c_void_p]),
    "rd_kafka_mock_get_requests": (ctypes.POINTER(c_void_p), [c_void_p, ctypes.POINTER(c_size_t)]),
    "rd_kafka_mock_request_api_key": (c_int16, [c_void_p]),
    "rd_kafka_mock_request_destroy_array": (None, [ctypes.POINTER(c_void_p), c_size_t]),
    "rd_kafka_mock_push_request_errors_array": (None, [c_void_p, c_int16, c_size_t, ctypes.POINTER(c_int)]),
}


def _library() -> ctypes.CDLL:
    """Return the librdkafka that confluent_kafka has loaded."""
    assert confluent_kafka.libversion()
    loaded = Path("/proc/self/maps").read_text().splitlines()
    path = next(line.split()[-1] for line in loaded if "librdkafka" in line)
    library = ctypes.CDLL(path)
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """So many brokers with one topic of one partition; `brokers` is where they listen."""

    def __init__(self, topic: str, brokers: int = 1) -> None:
        self._library = _library()
        self._topic = topic.encode()
        self._count = brokers

    def __enter__(self) -> Self:
        library = self._library
        configuration = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(configuration, b"log_level", b"0", None, 0)
        self._client = library.rd_kafka_new(_PRODUCER, configuration, None, 0)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._count)
        self.brokers: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        library.rd_kafka_mock_start_request_tracking(self._cluster)
        library.rd_kafka_mock_topic_create(self._cluster, self._topic, 1, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def answer(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each; 0 is none."""
        array = (c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), array)

    def delay(self, seconds: float) -> None:
        """Let all answers take so long."""
        for broker in range(1, self._count + 1):
            self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, int(seconds * 1000))

    def asked(self, request: int) -> int:
        """Return how many requests of a kind have come."""
        count = c_size_t()
        requests = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        kinds = [self._library.rd_kafka_mock_request_api_key(requests[index]) for index in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return kinds.count(request)

    def lead(self, broker: int) -> None:
        """Let another broker lead the partition."""
        self._library.rd_kafka_mock_partition_set_leader(self._cluster, self._topic, 0, broker)

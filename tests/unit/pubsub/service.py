"""Pub/Sub's refusals, which the emulator does not know: a gRPC server that answers as a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc.aio
from google.pubsub_v1.types import PublishRequest, PublishResponse
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tests.servers.base import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.certificates import Certificates

OK = (grpc.StatusCode.OK, "")


class Service:
    """Answers on `host`, in the test's loop; `requests` is what was to be published, `headers` came with the last."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self.host = f"{HOST}:{free_port()}"
        self.requests: list[Any] = []
        self.headers: dict[str, str] = {}
        self.answer: Callable[[Any], tuple[Any, ...]] = lambda _: OK
        """What becomes of a request: code, text, and details."""
        self.work: Callable[[Any], Awaitable[None]] | None = None
        """What a request takes its time for."""
        self._certificates = certificates

    async def __aenter__(self) -> Self:
        handler = grpc.unary_unary_rpc_method_handler(
            self._publish, PublishRequest.deserialize, PublishResponse.serialize
        )
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler})]
        )
        if self._certificates is None:
            self._server.add_insecure_port(self.host)
        else:
            pair = (self._certificates.server_key.read_bytes(), self._certificates.server.read_bytes())
            self._server.add_secure_port(self.host, grpc.ssl_server_credentials([pair]))
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def refuse(self, code: Any, text: str = "because", *details: Any) -> None:
        """Answer everything with this."""
        self.answer = lambda _: (code, text, *details)

    async def _publish(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.headers = dict(context.invocation_metadata())
        if self.work is not None:
            await self.work(request)
        code, text, *details = self.answer(request)
        if code is not grpc.StatusCode.OK:
            status = Status(code=code.value[0], message=text)
            for detail in details:
                status.details.add().Pack(detail)
            await context.abort(code, text, (("grpc-status-details-bin", status.SerializeToString()),))
        return PublishResponse(message_ids=[str(number) for number, _ in enumerate(request.messages)])


def retry_after(seconds: int) -> Any:
    """Return how the service says when it wants to be asked again."""
    found = RetryInfo()
    found.retry_delay.seconds = seconds
    return found


def because(reason: str) -> Any:
    """Return how the service names a reason."""
    return ErrorInfo(reason=reason, domain="googleapis.com")

"""How a Gen2 device answers, whatever the channel: limit, authentication, method. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.shelly import rpc
from simulator.shelly.digest import Refusal
from simulator.shelly.methods import OPEN, Methods

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.counts import Counts
    from simulator.shelly.gen2 import Gen2Device
    from simulator.shelly.limiter import Limiter


class Node:
    """A device behind its network interface; `clock` gives monotonic seconds."""

    def __init__(self, device: Gen2Device, limiter: Limiter, counts: Counts, clock: Callable[[], float]) -> None:
        self.device = device
        self.methods = Methods(device)
        self._limiter = limiter
        self._counts = counts
        self._clock = clock

    def answer_frame(self, payload: str | bytes, source: str, *, trusted: bool = False) -> rpc.Json | None:
        """Answer a request frame; a trusted channel needs no authentication. None for what is no request."""
        request = rpc.parse(payload)
        if request is None:
            return None
        refusal = self._limit()
        if refusal is None and not trusted and request.method.lower() not in OPEN:
            refusal = self._count(self.device.digest.check_frame(request.auth, self._clock()))
        if refusal:
            return rpc.answer(request, self.device.identity.id, rpc.RpcError(refusal.code, refusal.message))
        return rpc.answer(request, self.device.identity.id, self._outcome(request.method, request.params, source))

    def admit(self, http_method: str, uri: str, authorization: str | None, name: str) -> Refusal | None:
        """Tell why an HTTP request is not let in; `name` is the RPC method that it calls, if any."""
        refusal = self._limit()
        if refusal or name.lower() in OPEN:
            return refusal
        return self._count(self.device.digest.check_header(authorization, http_method, uri, self._clock()))

    def call(self, name: str, params: rpc.Json, source: str) -> Any:
        """Carry out a method for somebody who was let in; RpcError where that is not possible."""
        return self.methods.call(name, params, source)

    def _outcome(self, name: str, params: rpc.Json, source: str) -> Any | rpc.RpcError:
        try:
            return self.call(name, params, source)
        except rpc.RpcError as error:
            return error

    def _limit(self) -> Refusal | None:
        self._counts.requests += 1
        return None if self._limiter.admits(self._clock()) else self._count(Refusal(429, "Too many requests"))

    def _count(self, refusal: Refusal | None) -> Refusal | None:
        if refusal:
            self._counts.throttled += refusal.code == 429
            self._counts.unauthorized += refusal.code == 401
        return refusal

"""Checks of ports: which program listens where, and whether it is the one that should."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.config.values import loopback
from edge_energy.doctor import processes
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

_KNOWN = {
    1883: "MQTT",
    8883: "MQTT with TLS",
    8000: "the daemon's HTTP server",
    8086: "InfluxDB",
    3000: "Grafana",
    8080: "Zigbee2MQTT's page",
}


class Seen(NamedTuple):
    """Who listens on a port, at which addresses; `holders` is empty where that may not be seen."""

    addresses: list[IPv4Address | IPv6Address]
    holders: list[processes.Process]

    @property
    def outside(self) -> bool:
        """Whether other machines can reach it."""
        return not all(address.is_loopback for address in self.addresses)

    def __str__(self) -> str:
        who = ", ".join(map(str, self.holders)) or "a program that may not be seen"
        where = dict.fromkeys("all addresses" if each.is_unspecified else str(each) for each in self.addresses)
        return f"{who} on {', '.join(where)}"


def checks(case: Case) -> Iterator[Check]:
    """Yield one check for each port that matters here."""
    wanted = dict(_KNOWN)
    settings = case.settings
    if settings is not None:
        wanted |= {broker.port: "MQTT" for broker in settings.mqtt if loopback(broker.host)}
        if settings.http is not None:
            wanted = {port: name for port, name in wanted.items() if name != _KNOWN[8000]}
            wanted[settings.http.port] = _KNOWN[8000]
    yield Check("reachable from the internet", partial(reachable, case.machine, list(wanted)))
    for port, name in wanted.items():
        look = http_port if settings is not None and settings.http and port == settings.http.port else any_port
        yield Check(f"port {port}, {name}", partial(look, case, port))


def seen(machine: Machine, port: int) -> Seen | None:
    """Return who listens on a port; None where nobody does, or this system does not tell."""
    found = [each for each in processes.listeners(machine) if each.port == port]
    if not found:
        return None
    holders = processes.holders(machine, *(f"socket:[{each.inode}]" for each in found))
    return Seen(sorted({each.address for each in found}, key=str), holders)


def reachable(machine: Machine, wanted: list[int]) -> Finding:
    """Tell whether this machine is in the internet itself, with one of these ports open.

    By IPv6 alone that is no warning: at home such addresses are usual, and the router's firewall keeps others out.
    """
    said = machine.run("hostname", "-I")
    if said is None:
        return not_applicable("this system does not tell its addresses")
    own = [ip_address(text) for text in said.split() if public(text)]
    if not own:
        return ok("this machine has no public address")
    listening = [(port, who) for port in wanted if (who := seen(machine, port)) is not None]
    found = [(address, port) for port, who in listening for address in own if _open_to(who, address)]
    if not found:
        return ok(f"none of the ports below is open on {', '.join(map(str, own))}")
    addresses, ports = (", ".join(dict.fromkeys(map(str, column))) for column in zip(*found, strict=True))
    if all(address.version == 6 for address, _ in found):
        return ok(f"only a firewall, as most routers have, keeps the internet from {addresses}, ports {ports}")
    cause = f"everybody in the internet can try the ports {ports}, unless a firewall is in the way"
    remedy = "put it behind a router or a firewall; reach it by a VPN"
    return warning(f"{addresses}: in the internet", cause, remedy)


def _open_to(who: Seen, address: IPv4Address | IPv6Address) -> bool:
    # Who listens on all addresses of IPv6 is reached by IPv4, too; not the other way round.
    return any(each == address or (each.is_unspecified and each.version >= address.version) for each in who.addresses)


def any_port(case: Case, port: int) -> Finding:
    """Tell who listens on a port."""
    if case.machine.text("/proc/net/tcp") is None:
        return not_applicable("this system does not tell who listens")
    who = seen(case.machine, port)
    if who is None:
        return ok("nobody listens")
    if who.outside and any(each.program == processes.ZIGBEE2MQTT for each in who.holders):
        cause = "its page asks for no password: whoever is in the network can switch and pair devices"
        remedy = "set frontend.enabled: false (or frontend.host: 127.0.0.1) in Zigbee2MQTT's configuration.yaml"
        return warning(str(who), cause, f"{remedy}; sudo systemctl restart zigbee2mqtt")
    return ok(str(who))


def http_port(case: Case, port: int) -> Finding:
    """Tell whether the daemon has the port of its HTTP server."""
    if case.machine.text("/proc/net/tcp") is None:
        return not_applicable("this system does not tell who listens")
    who = seen(case.machine, port)
    servers = [] if case.status is None else [each for each in case.status["servers"] if each["kind"] == "http"]
    listening = any(each["connected"] for each in servers)
    if who is None:
        if case.status is None:
            return not_applicable("nobody listens, as the daemon does not run")
        reason = "; ".join(str(each["last_error"]) for each in servers) or "it runs with other settings"
        return failure(
            "nobody listens", reason, "sudo systemctl restart edge-energy; journalctl -u edge-energy -n 50"
        )
    if any(each.program == processes.DAEMON for each in who.holders) or (listening and not who.holders):
        return ok(str(who))
    if not who.holders and case.status is None:
        return not_permitted(f"{who}; whether it is the daemon cannot be seen")
    stop = f"sudo kill {who.holders[0].pid}" if who.holders else f"sudo ss -ltnp sport = :{port} names it"
    return failure(
        str(who),
        f"port {port} is taken by another program, so webhooks and Shelly devices do not reach the daemon",
        f"stop that program ({stop}), or set another [http] port in {case.config}; "
        "then sudo systemctl restart edge-energy",
    )


def public(name: str) -> bool:
    """Tell whether an address belongs to the internet."""
    try:
        return ip_address(name).is_global
    except ValueError:
        return False

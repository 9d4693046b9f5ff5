"""Checks of every broker: reached with the daemon's login, messages pass, sessions are kept, strangers stay out."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_energy.config.values import loopback
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.doctor.mqtt import Refused, visit
from edge_energy.doctor.ports import public, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.config import Mqtt
    from edge_energy.doctor.case import Case

SLOW = 1.0
"""Seconds that a message may take to the broker and back."""
_PATIENCE = 14.0
_DOWN = "the broker cannot be asked: see its first check"


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns each broker."""
    for broker in () if case.settings is None else case.settings.mqtt:
        name = f"{broker.host}:{broker.port}"
        yield Check(f"{name} passes messages on", partial(round_trip, case, broker), _PATIENCE)
        yield Check(f"{name} keeps sessions", partial(session, case, broker), _PATIENCE)
        yield Check(f"{name} refuses strangers", partial(strangers, case, broker), _PATIENCE)
        yield Check(f"{name} is not in public", partial(in_public, broker), _PATIENCE)
        yield Check(f"{name}: QoS of what arrives", partial(received, case, broker))


def readable(case: Case, broker: Mqtt) -> bool:
    """Tell whether the login of the daemon is known here."""
    return case.secrets or broker.username is None or broker.password is not None


def doctor_topic(case: Case) -> str:
    """Return a topic of our own, below that of the appliance, where its login may publish and hear."""
    appliance = "house-1" if case.settings is None else case.settings.appliance.id
    return f"edge-energy/{appliance}/doctor/{secrets.token_hex(8)}"


def round_trip(case: Case, broker: Mqtt) -> Finding:
    """Send a message to ourselves at QoS 1, and tell how long it took."""
    if not readable(case, broker):
        return not_permitted("the password may not be read")
    topic = doctor_topic(case)
    try:
        with visit(broker) as here:
            granted = here.subscribe(topic)[0]
            began = time.monotonic()
            packet = here.publish(topic, b"{}")
            here.until(lambda: bool(here.messages) and packet in here.published)
            seconds = time.monotonic() - began
            code = here.published.get(packet)
    except (OSError, Refused) as error:
        return unreachable(broker, error)
    below = topic.partition("/doctor/")[0]
    if granted.is_failure or code is None or code.is_failure or not here.messages:
        who = f"user {broker.username!r}" if broker.username else "we"
        return failure(
            "connected, but a message does not come back",
            f"{who} may not publish or subscribe below {below}/",
            f"allow it in the broker's ACL (mosquitto: `topic readwrite {below}/#`), then reload it",
        )
    found = f"a message came back at QoS {here.messages[0].qos} after {seconds * 1000:.1f} ms"
    if here.messages[0].qos == 0:
        cause = "the broker lowers QoS 1 to 0, so it keeps nothing while the daemon is away"
        return warning(found, cause, "correct the broker's max_qos")
    if seconds > SLOW:
        return warning(found, "the broker or the network to it is slow", "look at its log and its load")
    return ok(found)


def unreachable(broker: Mqtt, error: OSError | Refused) -> Finding:
    """Return what it means that a broker cannot be visited."""
    place = f"{broker.host}:{broker.port}"
    here = loopback(broker.host)
    start = "sudo systemctl restart mosquitto; journalctl -u mosquitto -n 50"
    if isinstance(error, Refused):
        if error.login:
            remedy = "correct [[mqtt]] username and password; an appliance's are in /etc/edge-energy/secrets"
            return failure("refuses the login", str(error), remedy)
        return failure("does not let us in", str(error), start if here else "look at the broker's log")
    if isinstance(error, ssl.SSLCertVerificationError):
        return failure("shows a certificate without trust", error.verify_message, "correct [[mqtt]] ca_file or host")
    if isinstance(error, ssl.SSLError):
        return failure("no encryption comes about", str(error), "correct [[mqtt]] tls, port, cert_file and key_file")
    if isinstance(error, socket.gaierror):
        return failure(
            "has no address", f"nobody knows the name {broker.host!r}", "correct [[mqtt]] host, or the DNS"
        )
    remedy = start if here else "switch the broker on, or correct [[mqtt]] host and port; look at its firewall"
    return failure("cannot be reached", f"nobody answers at {place}: {error}", remedy)


def session(case: Case, broker: Mqtt) -> Finding:
    """Leave and come back, and tell whether the broker still knew us; then take the session away again."""
    if not readable(case, broker):
        return not_permitted("the password may not be read")
    name = f"edge-energy-doctor-{secrets.token_hex(4)}"
    try:
        try:
            with visit(broker, client_id=name, clean=False) as first:
                first.subscribe(doctor_topic(case))
            with visit(broker, client_id=name, clean=False) as again:
                kept = again.session_present
        finally:  # a broker of 3.1.1 would keep it for ever
            with visit(broker, client_id=name):
                pass
    except (OSError, Refused):
        return not_applicable(_DOWN)
    if not kept:
        cause = "it forgets who was there, so what comes while the daemon is away is lost"
        return failure("no", cause, "let the broker keep sessions (mosquitto: persistent_client_expiration 7d)")
    lost = sum(source["sessions_lost"] for source in _sources(case, broker))
    if lost:
        cause = "the broker was restarted without persistence, or too late for what was new"
        return warning(f"yes, but it has forgotten the daemon's {lost} times", cause, "see its persistence below")
    return ok("yes")


def strangers(case: Case, broker: Mqtt) -> Finding:
    """Try to connect without a login."""
    try:
        with visit(broker, login=False):
            pass
    except (Refused, OSError) as error:
        if isinstance(error, Refused) and error.login:
            return ok("yes")
        # With TLS 1.3 the lack of a certificate shows only once the connection is made, as its end.
        ended = isinstance(error, Refused | ssl.SSLError | ConnectionResetError)
        if broker.cert_file is not None and ended and not isinstance(error, ssl.SSLCertVerificationError):
            return ok("yes, they need a certificate")
        return not_applicable(_DOWN)
    cause = "whoever reaches it can read everything, forge readings" + (" and switch relays" if broker.relays else "")
    remedy = (
        "allow_anonymous false and a password_file in mosquitto's configuration (install.sh makes both), "
        "and [[mqtt]] username and password here"
    )
    who = seen(case.machine, broker.port) if loopback(broker.host) else None
    if who is not None and not who.outside:
        return warning("no: anonymous clients are let in, from this machine only", cause, remedy)
    return failure("no: anonymous clients are let in", cause, remedy)


def in_public(broker: Mqtt) -> Finding:
    """Tell whether what we say to the broker goes through the internet for all to read."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(broker.host, broker.port)}
    except socket.gaierror:
        return not_applicable(_DOWN)
    outside = sorted(filter(public, found))
    if outside and not broker.tls:
        cause = "password, readings and commands go through the internet in the clear"
        return failure(f"{broker.host} is {', '.join(outside)}", cause, "[[mqtt]] tls = true, and the port for it")
    return ok("in public, but encrypted" if outside else "it is in this machine or in a private network")


def received(case: Case, broker: Mqtt) -> Finding:
    """Tell at which QoS messages really came to the daemon."""
    sources = _sources(case, broker)
    if not sources:
        return not_applicable("the daemon tells nothing of it")
    counts = sources[0]["received_qos"]
    refused = [topic for topic, granted in sources[0]["granted_qos"].items() if granted == "refused"]
    found = f"{counts['1']} messages at QoS 1, {counts['0']} at QoS 0"
    if refused:
        cause = f"the broker refuses the subscription of {', '.join(refused)}"
        return failure(found, cause, "allow it in the broker's ACL, then reload it")
    if counts["0"] > counts["1"]:
        cause = "what is sent at QoS 0 is lost while the daemon is away"
        return warning(found, cause, "let the devices publish at QoS 1 (Zigbee2MQTT: device_options: {qos: 1})")
    return ok(found)


def _sources(case: Case, broker: Mqtt) -> list[dict[str, Any]]:
    name = f"mqtt {broker.host}:{broker.port}"
    return [] if case.status is None else [each for each in case.status["sources"] if each["name"] == name]

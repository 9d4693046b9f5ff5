"""A coordinator that a container can have: a ConBee II on a pseudo-terminal, as far as Zigbee2MQTT's start needs one.

    python3 conbee.py LINK

It speaks deCONZ's serial protocol, forms whatever network it is told, and has no devices; LINK becomes a symbolic
link to its port. Standard library only: it runs on the container's Python.
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tty
from collections import deque

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
READ_STATE, CHANGE_STATE, READ, WRITE, VERSION, STATE_CHANGED = 0x07, 0x08, 0x0A, 0x0B, 0x0D, 0x0E
REQUEST, CONFIRM, INDICATION = 0x12, 0x04, 0x17
OK, UNSUPPORTED = 0, 4
CONNECTED, CONFIRM_WAITS, INDICATION_WAITS, FREE_SLOTS = 2, 0x04, 0x08, 0x20
MAC = bytes.fromhex("2c1b0affff2e2100")  # little-endian, as everything
FIRMWARE = bytes.fromhex("00077826")
ENDPOINT, NETWORK_KEY, MASK, CHANNEL, EXT_PAN, APS_EXT_PAN, ADDRESS = 0x13, 0x18, 0x0A, 0x1C, 0x08, 0x0B, 0x07
INDEXED = {ENDPOINT, NETWORK_KEY}
ACTIVE_ENDPOINTS, SIMPLE_DESCRIPTOR = 0x0005, 0x0004
BLANK = {
    **{(eight, 0): bytes(8) for eight in (EXT_PAN, APS_EXT_PAN)},
    **{(four, 0): bytes(4) for four in (MASK, 0x26, 0x27)},
    **{(one, 0): bytes(1) for one in (0x15, CHANNEL, 0x21, 0x24, 0x28)},
    **{(ENDPOINT, n): bytes([n, n + 1, 4, 1, 5, 0, 1, 0, 0]) for n in range(3)},
    (0x01, 0): MAC,
    (0x0E, 0): MAC,
    (0x05, 0): b"\xff\xff",
    (ADDRESS, 0): b"\xff\xff",
    (0x09, 0): b"\1",
    (0x10, 0): b"\3",
    (0x22, 0): b"\x0e\1",
    (NETWORK_KEY, 0): bytes(17),
}
"""What a new stick has, by number of the parameter and index."""


class Stick:
    """What it knows, and what it answers."""

    def __init__(self) -> None:
        self._parameters = dict(BLANK)
        self._net = 0
        self._confirms: deque[bytes] = deque()
        self._indications: deque[bytes] = deque()

    def answer(self, frame: bytes) -> list[bytes]:
        """Return the frames that follow on one."""
        command, seq, body = frame[0], frame[1], frame[5:]
        payload = body[2:]
        if command == READ_STATE:
            answers = [_frame(command, seq, bytes([self._state(), 0, 0]))]
        elif command == CHANGE_STATE:
            self._change(body[0])
            answers = [_frame(command, seq, body[:1]), self._changed()]
        elif command == VERSION:
            answers = [_frame(command, seq, FIRMWARE)]
        elif command == READ:
            answers = [self._read(seq, payload)]
        elif command == WRITE:
            self._parameters[_key(payload)] = payload[1:]
            answers = [_frame(command, seq, _sized(payload[:1]))]
        elif command == REQUEST:
            self._send(payload)
            answers = [_frame(command, seq, _sized(bytes([self._state(), payload[0]]))), self._changed()]
        elif waiting := {CONFIRM: self._confirms, INDICATION: self._indications}.get(command):
            content = waiting.popleft()
            answers = [_frame(command, seq, _sized(bytes([self._state()]) + content))]
        else:
            answers = [_frame(command, seq, _sized(payload[:1]), UNSUPPORTED)]
        return answers

    def _state(self) -> int:
        waits = CONFIRM_WAITS * bool(self._confirms) | INDICATION_WAITS * bool(self._indications)
        return self._net | waits | FREE_SLOTS

    def _changed(self) -> bytes:
        return _frame(STATE_CHANGED, 0, bytes([self._state(), 0]))

    def _change(self, net: int) -> None:
        self._net = net
        if net == CONNECTED:
            (mask,) = struct.unpack("<I", self._parameters[MASK, 0])
            self._parameters[CHANNEL, 0] = bytes([(mask & -mask).bit_length() - 1])
            self._parameters[ADDRESS, 0] = bytes(2)
            self._parameters[EXT_PAN, 0] = self._parameters[APS_EXT_PAN, 0]

    def _read(self, seq: int, payload: bytes) -> bytes:
        if value := self._parameters.get(_key(payload)):
            return _frame(READ, seq, _sized(payload[:1] + value))
        return _frame(READ, seq, _sized(payload[:1]), UNSUPPORTED)

    def _send(self, payload: bytes) -> None:
        """Take a message to the network. Only we are in it: what is for us, our own descriptors answer."""
        number, mode, address, endpoint = struct.unpack("<BxBHB", payload[:6])
        profile, cluster, source, length = struct.unpack("<HHBH", payload[6:13])
        self._confirms.append(struct.pack("<BBHBBB4x", number, mode, address, endpoint, source, OK))
        if (address, profile) == (0, 0) and (asdu := self._descriptor(cluster, payload[13 : 13 + length])):
            head = struct.pack("<BHBBHBHHH", 2, 0, 0, 2, 0, 0, 0, cluster | 0x8000, len(asdu))
            self._indications.append(head + asdu + bytes([0, 0, 255, 0, 0, 0, 0, 0]))

    def _descriptor(self, cluster: int, asdu: bytes) -> bytes:
        endpoints = [self._parameters[ENDPOINT, n] for n in range(2)]
        head = asdu[:1] + bytes(3)  # its number, success, our address
        if cluster == ACTIVE_ENDPOINTS:
            return head + bytes([len(endpoints), *(value[1] for value in endpoints)])
        if cluster == SIMPLE_DESCRIPTOR:
            found = next((value[1:] for value in endpoints if value[1] == asdu[3]), b"")
            return head + bytes([len(found)]) + found
        return b""


def _key(payload: bytes) -> tuple[int, int]:
    return payload[0], payload[1] if payload[0] in INDEXED else 0


def _sized(payload: bytes) -> bytes:
    return struct.pack("<H", len(payload)) + payload


def _frame(command: int, seq: int, body: bytes, status: int = OK) -> bytes:
    frame = struct.pack("<BBBH", command, seq, status, 5 + len(body)) + body
    frame += struct.pack("<H", -sum(frame) & 0xFFFF)
    escaped = frame.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
    return bytes([END]) + escaped + bytes([END])


def main() -> None:
    """Be plugged in until killed."""
    port, device = os.openpty()  # the device stays open, so that others may come and go
    tty.setraw(device)
    name = os.ttyname(device)
    shutil.chown(name, group="dialout")
    os.chmod(name, 0o660)  # noqa: PTH101
    os.symlink(name, sys.argv[1])  # noqa: PTH211
    stick, received = Stick(), b""
    while True:
        *frames, received = (received + os.read(port, 4096)).split(bytes([END]))
        for escaped in filter(None, frames):
            frame = escaped.replace(bytes([ESC, ESC_END]), bytes([END])).replace(bytes([ESC, ESC_ESC]), bytes([ESC]))
            for answer in stick.answer(frame[:-2]):
                os.write(port, answer)


if __name__ == "__main__":
    main()

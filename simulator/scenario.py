"""What is out of the ordinary in the house. No I/O."""

from __future__ import annotations

from enum import StrEnum


class Scenario(StrEnum):
    """The situations of the MQTT sensor guide."""

    NORMAL = "normal"
    HEATWAVE = "heatwave"  # every temperature is above the usual thresholds
    OVERLOAD = "overload"  # the workshop's plug carries 4.1 kW, beyond the 3,680 W of its 16 A
    SENSOR_FAULT = "sensor-fault"  # every third message of the DHT11 is unreadable, incomplete or absurd

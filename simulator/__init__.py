"""A simulated house: its loads, its devices and the protocols they speak; shares no code with the daemon.

Three layers, each ignorant of the one above:

- the house (`house`, `outlet`, `grid`, `weather`, `climate` and the loads) knows electricity and heat only;
- protocol modules (`zigbee2mqtt`, `dht11`, most of `shelly`) turn what a house measures into what goes over the wire,
  and `zigbee_door` lets tests disturb the relays of the house and learn the truth about them;
- `mqtt`, `run` and the network side of `shelly` are the only ones that touch a socket or a clock.

The house runs `speed` times faster than the wall clock, and with it every interval between two reports. What a
consumer holds against its own clock stays real: `last_seen` is the instant of publication (two messages of one
device are kept a millisecond apart), and `on_time` counts real seconds. At a speed other than 1 a counter
therefore grows `speed` times faster than power over wall-clock time explains.
"""

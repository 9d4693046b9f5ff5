"""Simulated Shelly devices on loopback ports, each behind one circuit of the house.

Pure, from the bottom upwards:

- `moment`, `energy`, `product`: what time it is for a device, its counters, which products there are;
- `timed_relay`: a relay with its timer, and its defects;
- `component`, `switch`, `em`, `services`: what a Gen2 device consists of, each with configuration and status;
- `gen2` and `methods`: the device as a whole, and what it can be asked; `gen1`, `gen1_answers`: the older device;
- `rpc`, `digest`, `limiter`, `node`: what frames look like, who may ask and how often, and what is answered;
- `expression`, `webhook`: which URLs an event calls; `topics`: what is said over MQTT; `faults`: spoilt answers;
- `counts`, `truth`: what really happened.

With sockets: `gate`, `http_gen2`, `http_gen1`, `channel`, `outbound`, `callers`, `mqtt_link`, all run by `host`
(`host_gen2`, `host_gen1`), one for each device; `control` is the door for faults, `mdns` announces, `fleet` starts
everything.
"""

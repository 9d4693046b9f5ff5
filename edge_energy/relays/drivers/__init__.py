"""How relays are told to switch, and asked whether they did: one file for each kind of device and its way.

A driver is a `Way`: it tells and looks. `Choice` makes an `interfaces.Relay` of those that reach a device now.
"""

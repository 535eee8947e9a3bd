"""The local API of a device: one handler without a framework, two servers around it.

Off until an app starts it; loopback only; every answer needs a token. Nothing here is loaded when
a device records or ranks.
"""

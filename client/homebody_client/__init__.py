"""What runs on a device: ranking with numpy alone; training where torch is installed.

Importing this package loads neither torch, opacus nor flwr.
"""

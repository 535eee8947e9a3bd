"""The commands of ``homebody device`` and ``homebody export``, one file for each thing they do.

What a command needs is loaded when it runs: ``homebody --help`` opens no device.
"""

"""What runs on a GPU, written in Triton; loaded only where it is to run.

Triton reads the annotations of a program's arguments as types of its own, so there are none but
those of constants. Triton decides when a program is defined whether it will be compiled or
interpreted: ``TRITON_INTERPRET`` must be set before these modules are loaded.
"""

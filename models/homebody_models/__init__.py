"""Compact recommenders, their metrics, and the signed bundle that carries one to a device.

Import the module you need (``homebody_models.two_tower``, ``.metrics``, ``.bundle``, ...). This
package imports nothing else of homebody's; all of it is numpy.
"""

"""Lists made on the device: surfaces, filters, local adaptation, reasons, rules; numpy alone.

``list_maker.ListMaker`` is the way in.
"""

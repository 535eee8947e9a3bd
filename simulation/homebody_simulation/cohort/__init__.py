"""The cohort engine: what the devices of one round add up to, without a process per device."""

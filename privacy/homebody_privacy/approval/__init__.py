"""Who signed what may run: approvals, waivers, whose keys count, and whether they suffice."""

"""A service: one person's device behind the local API, for other programs of the machine.

Started by ``homebody-device.service`` beside this file. Folders come from its environment:

====================  =====================================================================
``STATE_DIRECTORY``    where the profile is kept; systemd sets it
``HOMEBODY_STATE``     where keys and anchors are kept; outside every backup of the profile
``HOMEBODY_SHIPPED``   privacy.toml, model.hbm, catalog and publisher.pub, as you ship them
``HOMEBODY_PORT``      port on loopback, 8971 by default; 0 takes a free one
====================  =====================================================================
"""

import os
import signal
import sys
from pathlib import Path

from homebody import Device
from homebody_client.api.profiles import Profile
from homebody_client.api.serve import PORT, local_server
from homebody_client.api.tokens import Tokens, install_token
from homebody_privacy.errors import HomebodyError


def passphrase() -> str | None:
    """Return the pass phrase systemd unsealed for this service; None where there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder, "passphrase") if folder else None
    return file.read_text("utf-8").strip() if file is not None and file.exists() else None


def serve(profile: Path, shipped: Path, port: int) -> None:
    """Open the device and answer until the service is stopped."""
    with Device.open(
        profile,
        config=shipped / "privacy.toml",
        bundle=shipped / "model.hbm",
        catalog=shipped / "catalog",
        trusted_key=shipped / "publisher.pub",
        passphrase=passphrase(),
    ) as device:
        for problem in device.problems:
            print(problem, file=sys.stderr)
        server = local_server(
            [Profile("This device", device)],
            tokens=Tokens(install_token(profile)),
            port=port,
            engine="standard",
        )
        print(f"listening at {server.address}", flush=True)
        try:
            server.run()
        finally:
            server.close()


def main() -> int:
    """Run the service; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve(
            Path(os.environ["STATE_DIRECTORY"], "profile"),
            Path(os.environ["HOMEBODY_SHIPPED"]),
            int(os.environ.get("HOMEBODY_PORT", PORT)),
        )
    except HomebodyError as error:
        print(f"{error.code}: {error}\nfix  {error.fix}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

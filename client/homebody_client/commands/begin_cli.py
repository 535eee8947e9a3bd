"""``homebody device init`` and ``status``: begin a profile, and see what it is."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homebody_privacy.errors import InvalidFileError, PolicyViolationError, UsageError

from .session_cli import (
    HERE,
    Format,
    FormatOption,
    PassphraseOption,
    ProfileOption,
    answer,
    facts,
    opened,
    read_passphrase,
)

if TYPE_CHECKING:
    from homebody_client.device import Device
    from homebody_client.profile import Profile

app = typer.Typer()


@app.command("init")
def init(
    profile: Annotated[Path, typer.Argument(help="Folder of the profile; made.")] = HERE,
    *,
    config: Annotated[
        Path | None, typer.Option(help="privacy.toml of the app; copied, its notices too.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of a model bundle.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="Folder of a signed catalog.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="The publisher's public key, kept as the only one trusted.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Begin a profile, or bring a newer config, model or catalog to one; nothing is switched on."""
    from homebody_client.bundles import read_public_key
    from homebody_client.device import Device
    from homebody_client.profile import Profile

    passphrase = read_passphrase(passphrase_file)
    public = None if key is None else read_public_key(key)
    if public is None and (bundle or catalog) and not (profile / "publisher.pub").exists():
        raise UsageError(
            "a model or a catalog cannot be verified without its publisher's key",
            fix="name the public key file with --key",
        )
    folders = Profile.open(profile)
    try:
        if public is not None:
            _pin(public, folders)
        if config is not None:
            _put(config, folders)
    finally:
        folders.close()
    with Device.open(profile, passphrase=passphrase) as device:
        if bundle is not None or catalog is not None:
            device.install(bundle=bundle, catalog=catalog)
        found = describe(device, profile)
    answer(output, found, as_text(found))


@app.command("status")
def status(
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what the profile holds, what is switched on and what is wrong; no row is shown."""
    with opened(profile, passphrase_file) as device:
        found = describe(device, profile)
    answer(output, found, as_text(found))


def describe(device: "Device", profile: Path) -> dict[str, Any]:
    """Return the facts of a device, as JSON; no behaviour is among them."""
    from homebody_client.bundles import read_public_key
    from homebody_client.consent.book import ConsentBook
    from homebody_privacy.signing import key_id

    kind, weaker = device.key_store
    book, terms = device.consent, device.consent.terms
    pinned = profile / "publisher.pub"
    return {
        "profile": str(profile),
        "device_key": book.signing_key.key_id if isinstance(book, ConsentBook) else None,
        "key_store": {"kind": kind, "weaker": weaker},
        "publisher_key": key_id(read_public_key(pinned)) if pinned.exists() else None,
        "config": None
        if terms is None
        else {
            "revision": terms.revision,
            "policy_version": terms.policy_version,
            "sha256": terms.config_sha256,
        },
        "model": device.model(),
        "catalog": None
        if device.catalog is None
        else {"version": device.catalog.version, "items": len(device.catalog.items)},
        "open": [f"{row.purpose}:{row.feature}" for row in book.matrix() if row.open],
        "paused": book.restricted,
        "strength": device.strength,
        "readable": device.readable,
        "rows": dict(sorted(Counter(row.feature for row in device.knows()).items())),
        "problems": list(device.problems),
    }


def as_text(found: dict[str, Any]) -> str:
    """Lay the facts of a device out for people."""
    config, model, catalog, kept = (found[name] for name in ("config", "model", "catalog", "rows"))
    store = found["key_store"]
    switches = ", ".join(found["open"])
    lines = {
        "profile": found["profile"],
        "device key": f"{found['device_key']}, which stays here"
        if found["device_key"]
        else "cannot be opened",
        "key kept by": f"{store['kind']}. {store['weaker']}" if store["weaker"] else store["kind"],
        "publisher": found["publisher_key"] or "no key: no model and no catalog is trusted",
        "config": f"revision {config['revision']}, policy version {config['policy_version']}"
        if config
        else "none: nothing can be allowed, and nothing is kept",
        "model": f"{model['model_id']} {model['version']}, serial {model['serial']}"
        if model
        else "none",
        "catalog": f"version {catalog['version']}, {catalog['items']} items" if catalog else "none",
        "consent": switches or "everything is off",
        "paused": "yes" if found["paused"] else "no",
        "strength": found["strength"],
        "rows": ", ".join(f"{name} {n}" for name, n in kept.items()) or "none",
    }
    return "\n".join([facts(lines), *(f"problem: {one}" for one in found["problems"])])


def _pin(public: bytes, folders: "Profile") -> None:
    """Keep the publisher's key; another one than before is never taken silently.

    Raises:
        UsageError: If another key is pinned.
        InvalidFileError: If it cannot be written.
    """
    from homebody_client.bundles import read_public_key
    from homebody_privacy.durable import write_durably

    if folders.publisher.exists() and read_public_key(folders.publisher) != public:
        raise UsageError(
            f"{folders.publisher}: another publisher's key is pinned to this profile",
            fix="delete that file first, if this publisher may replace the other",
        )
    try:
        write_durably(folders.publisher, public)
    except OSError as error:
        raise InvalidFileError(f"{folders.publisher}: {error.strerror}") from error


def _put(config: Path, folders: "Profile") -> None:
    """Copy a config into the profile; an older one is refused, for it would shut everything.

    Raises:
        PolicyViolationError: If its revision is lower than that of the one in force.
        InvalidFileError: If it is invalid.
        IntegrityError: If a notice is not the one it names.
    """
    from homebody_client.config_file import install_config
    from homebody_privacy.config import PrivacyConfig

    if folders.config.exists():
        before, after = PrivacyConfig.load(folders.config), PrivacyConfig.load(config)
        if after.revision < before.revision:
            raise PolicyViolationError(
                f"{config}: its revision is lower than that of the config in force",
                fix="raise revision with each change of the file",
            )
    install_config(config, folders.folder)

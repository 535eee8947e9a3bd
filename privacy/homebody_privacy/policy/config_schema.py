"""The JSON Schema of ``privacy.toml``: so that an editor knows its fields and what they mean.

For editors only. What a file says is judged by ``PrivacyConfig`` and by the rules: JSON Schema lets
NaN pass any limit and knows nothing of what one field means for another.
"""

from typing import Any

from homebody_privacy.config import PrivacyConfig


def config_schema() -> dict[str, Any]:
    """Return the schema (2020-12), with each field's meaning."""
    found = PrivacyConfig.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:homebody:privacy:1",
        **found,
        "title": "privacy.toml",
    }

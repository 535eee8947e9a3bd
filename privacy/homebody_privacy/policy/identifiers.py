"""Names of fields that point at one person or one device: nothing of the kind is ever collected.

A hashed or shortened identifier is one still: its name says what it was made of. Categories of the
taxonomies are looked at too, so that another name does not hide one.
"""

from itertools import pairwise
from typing import Final

_SINGLE: Final = (
    "aaid adid email emailaddress fax gaid guid iban iccid idfa idfv imei imsi ip ipaddress ipv4 "
    "ipv6 maid meid msisdn passport password phone phonenumber ssn surname telephone username "
    "userid uuid cookie"
)
_DOUBLE: Final = (
    "account_id ad_id advertiser_id advertising_id android_id basket_id card_number client_id "
    "cookie_id contact_id customer_id customer_number device_id device_serial e_mail family_name "
    "first_name full_name given_name hardware_id household_id household_key install_id "
    "installation_id instance_id invoice_id ip_address last_name loyalty_id loyalty_number "
    "mac_address mail_address member_id member_number mobile_number order_id person_id "
    "phone_number profile_id push_token serial_number session_id social_security street_address "
    "subscriber_id tax_id transaction_id user_hash user_id user_key user_name visitor_id vendor_id"
)
_WORDS: Final = frozenset(_SINGLE.split())
_PAIRS: Final = frozenset(tuple(pair.split("_")) for pair in _DOUBLE.split())
_FIDES: Final = (
    "user.unique_id",
    "user.contact.email",
    "user.contact.phone_number",
    "user.contact.fax_number",
    "user.device.cookie_id",
    "user.device.device_id",
    "user.device.ip_address",
    "user.government_id",
    "user.account.username",
    "user.authorization",
    "user.name",
)
_IDENTIFYING_DATA: Final = (
    "AccountIdentifier BrowserFingerprint CreditCardNumber DigitalFingerprint EmailAddress "
    "EmailAddressPersonal EmailAddressWork FinancialAccountNumber IPAddress Identifier MACAddress "
    "Name OfficialID Passport Password PaymentCardNumber PINCode SecretText TelephoneNumber UID "
    "Username VehicalLicenseNumber"
)
_DPV: Final = frozenset(f"pd:{name}" for name in _IDENTIFYING_DATA.split())


def is_identifier(field: str) -> bool:
    """Tell whether a field's name says that it holds an identifier.

    Args:
        field: Name in lower case, words joined by ``_``.

    Examples:
        >>> [is_identifier(x) for x in ("email_sha256", "user_id", "product_id", "device")]
        [True, True, False, False]
    """
    words = field.split("_")
    return any(word in _WORDS for word in words) or any(pair in _PAIRS for pair in pairwise(words))


def is_identifying(category: str) -> bool:
    """Tell whether a category of Fides or of DPV is one of identifiers.

    Examples:
        >>> is_identifying("user.unique_id.pseudonymous"), is_identifying("pd:Purchase")
        (True, False)
    """
    below = any(category == key or category.startswith(f"{key}.") for key in _FIDES)
    return below or category in _DPV

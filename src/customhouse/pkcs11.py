"""Keys on devices: found on a PKCS#11 token by their URI, signing without ever leaving it.

1. A key is named as in RFC 7512: `pkcs11:token=T;object=O?module-path=/path/lib.so&pin-source=file:/path`. Exactly one
   private key must fit. `pin-value` is refused: it would stand in histories, process lists and files.
2. The PIN comes from `pin-source`, else it is asked for.
3. Signatures have the form of metadata: ECDSA over SHA-256 as r and s at fixed width, RSA-PSS with a salt of 32 bytes,
   Ed25519. Each is verified before it leaves: a device that holds another key than the one on record is found out.
4. Keys made here are sensitive, cannot be extracted, and never take the place of another one.
5. Devices are spoken to from one thread of their own, one thing at a time: their libraries bring OpenSSL along and
   leave its errors behind in the thread that called them, where the next TLS connection would take them for its own.
The library (`python-pkcs11`, extra `hsm`) is loaded when a device is used, not before. OASIS PKCS#11 v3.0.
"""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from customhouse.errors import Invalid, NotFound, Unavailable
from customhouse.keys import PublicKey, Signature

KINDS = ("ecdsa-p256", "ecdsa-p384", "rsa-3072", "ed25519")
LONGEST_URI = 2048

T = TypeVar("T")
Pin = Callable[[str], str]
"""label of the token -> its PIN"""

_CURVES: dict[bytes, type[ec.EllipticCurve]] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("06052b81040022"): ec.SECP384R1,
    bytes.fromhex("06052b81040023"): ec.SECP521R1,
}
_ED25519 = bytes.fromhex("06032b6570")
_PATH = {"token", "manufacturer", "serial", "model", "object", "id", "type"}
_QUERY = {"module-path", "pin-source"}


class InvalidUri(Invalid):
    """Not the name of a key on a device."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the URI names no key on a device: {reason}",
            hint="Write pkcs11:token=LABEL;object=NAME?module-path=/usr/lib/softhsm/libsofthsm2.so",
        )


class NoSuchKey(NotFound):
    """The token is not there, or the key is not on it."""


class WrongPin(Invalid):
    """The token does not open with this PIN."""

    def __init__(self, token: str, reason: str) -> None:
        super().__init__(f"the token {token!r} does not open: {reason}", hint="Too many wrong PINs lock a token.")


class DeviceFailed(Unavailable):
    """The device, its library or ours did not do what was asked."""


@dataclass(frozen=True)
class Uri:
    """One key, or a token to make one on."""

    token: str
    label: str = ""
    id: bytes = b""
    serial: str = ""
    module: str = ""
    pin_source: str = ""

    @classmethod
    def parse(cls, text: str) -> "Uri":
        """Raises InvalidUri."""
        if not text.startswith("pkcs11:") or len(text) > LONGEST_URI:
            raise InvalidUri("it should begin with pkcs11: and be short")
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        found = {**_attributes(path, ";", _PATH), **_attributes(query, "&", _QUERY)}
        if found.get("type", b"private") != b"private":
            raise InvalidUri("its type should be private, or not be said")
        texts = {name: _text(name, value) for name, value in found.items() if name != "id"}
        if not (texts.get("token") or texts.get("serial")):
            raise InvalidUri("it should say token=LABEL or serial=NUMBER")
        source = texts.get("pin-source", "")
        if source and not source.removeprefix("file:").startswith("/"):
            raise InvalidUri("its pin-source should be file:/path")
        return cls(
            texts.get("token", ""), texts.get("object", ""), found.get("id", b""), texts.get("serial", ""),
            texts.get("module-path", ""), source.removeprefix("file:"),
        )

    def __str__(self) -> str:
        named = {"token": self.token, "serial": self.serial, "object": self.label}
        path = [f"{name}={quote(value, safe='')}" for name, value in named.items() if value]
        path += [f"id={quote(self.id, safe='')}"] if self.id else []
        query = [f"module-path={quote(self.module)}"] if self.module else []
        query += [f"pin-source=file:{quote(self.pin_source)}"] if self.pin_source else []
        return "pkcs11:" + ";".join(path) + ("?" + "&".join(query) if query else "")


@dataclass(frozen=True)
class DeviceSigner:
    """A key on a token, known by its public key; the token is opened to sign."""

    uri: Uri
    public: PublicKey
    pin: Pin

    def sign(self, payload: bytes) -> Signature:
        """Raises NoSuchKey, WrongPin, DeviceFailed."""
        made = _on_token(self.uri, self.pin, lambda session: self._made(_private(session, self.uri), payload))
        if not self.public.verify(payload, made.method, made.value):
            raise NoSuchKey(
                f"the key at {self.uri.label or self.uri.id.hex()!r} on token {self.uri.token!r} is another one than "
                f"{self.public.canonical_id[:12]}",
                hint="Plug in the token that holds the key on record, or load this one.",
            )
        return made

    def _made(self, key: Any, payload: bytes) -> Signature:
        from pkcs11 import MGF, Mechanism

        if self.public.bare.keytype == "rsa":
            salted = (Mechanism.SHA256, MGF.SHA256, 32)
            value = key.sign(payload, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=salted)
            return Signature(self.public.key_id, "rsapss", bytes(value))
        if self.public.bare.keytype == "ed25519":
            return Signature(self.public.key_id, "eddsa", bytes(key.sign(payload, mechanism=Mechanism.EDDSA)))
        value = key.sign(sha256(payload).digest(), mechanism=Mechanism.ECDSA)
        return Signature(self.public.key_id, "ecdsa", bytes(value))


def find(uri: Uri, pin: Pin) -> DeviceSigner:
    """The one key that fits, with its own label and id in its URI. Raises NoSuchKey, WrongPin, DeviceFailed."""
    _require_library()
    from pkcs11 import Attribute, ObjectClass

    def look(session: Any) -> DeviceSigner:
        private = _private(session, uri)
        template = {Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        template |= {Attribute.ID: private.id} if private.id else {Attribute.LABEL: private.label}
        publics = list(session.get_objects(template))  # to the end: a search that is left open breaks the session
        if not publics:
            raise NoSuchKey(
                f"the token {uri.token!r} has no public key beside its private key {private.label!r}",
                hint="Store the public key on the token under the same id.",
            )
        exact = replace(uri, label=private.label or "", id=bytes(private.id or b""))
        return DeviceSigner(exact, _public(publics[0]), pin)

    return _on_token(uri, pin, look)


def generate(uri: Uri, kind: str, pin: Pin) -> DeviceSigner:
    """A new key pair under the URI's label. Raises InvalidUri, Invalid for a label that is taken, DeviceFailed."""
    _require_library()
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
    from pkcs11.util.ec import encode_named_curve_parameters

    if not uri.label:
        raise InvalidUri("it should say object=NAME for the new key")
    key_id = uri.id or os.urandom(8)
    marks: dict[str, Any] = {"label": uri.label, "id": key_id, "store": True}

    def make(session: Any) -> DeviceSigner:
        taken = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: uri.label})
        if list(taken):
            raise Invalid(f"the token {uri.token!r} has a key {uri.label!r} already", hint="Choose another object=NAME")
        if kind == "rsa-3072":
            made, _ = session.generate_keypair(KeyType.RSA, 3072, **marks)
        elif kind == "ed25519":
            curve = {Attribute.EC_PARAMS: _ED25519}
            group = session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
            made, _ = group.generate_keypair(mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, **marks)
        elif kind in ("ecdsa-p256", "ecdsa-p384"):
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(f"secp{kind[-3:]}r1")}
            group = session.create_domain_parameters(KeyType.EC, curve, local=True)
            made, _ = group.generate_keypair(**marks)
        else:
            raise Invalid(f"{kind!r} is no kind of key", hint=f"Take one of {', '.join(KINDS)}.")
        return DeviceSigner(replace(uri, id=key_id), _public(made), pin)

    return _on_token(uri, pin, make, write=True)


# -- tokens ---------------------------------------------------------------------------------------------------------

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pkcs11")  # begins with the first device


def _on_token(uri: Uri, pin: Pin, act: Callable[[Any], T], *, write: bool = False) -> T:
    """What `act` does in a session that is logged in. The PIN is asked for here, where a person can be."""
    _require_library()
    if not uri.module:
        raise InvalidUri("it does not say the device's library as module-path")
    secret = _pin_from(uri.pin_source) if uri.pin_source else pin(uri.token or uri.serial)
    if not secret:
        raise WrongPin(uri.token, "no PIN was given")
    return _thread.submit(_in_session, uri, secret, act, write).result()


def _in_session(uri: Uri, secret: str, act: Callable[[Any], T], write: bool) -> T:
    """In the devices' thread; what the library raises is said in our words."""
    import pkcs11
    from pkcs11 import exceptions

    try:
        token = pkcs11.lib(uri.module).get_token(
            token_label=uri.token or None, token_serial=uri.serial.encode() or None
        )
        try:
            session = token.open(rw=write, user_pin=secret)
        except exceptions.UserAlreadyLoggedIn:
            session = token.open(rw=write)
        with session:
            return act(session)
    except (exceptions.NoSuchToken, exceptions.TokenNotPresent, exceptions.DeviceRemoved):
        raise NoSuchKey(
            f"there is no token {uri.token or uri.serial!r}", hint="Plug it in; its name is what token= says."
        ) from None
    except exceptions.MultipleTokensReturned:
        raise InvalidUri("several tokens have this label; say serial= as well") from None
    except exceptions.PinLocked:
        raise WrongPin(uri.token, "its PIN is locked") from None
    except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange):
        raise WrongPin(uri.token, "the PIN is not the right one") from None
    except exceptions.PKCS11Error as error:
        what = str(error) or type(error).__name__
        raise DeviceFailed(f"the token {uri.token!r} failed: {what}", hint="Is the library the device's?") from None


def _require_library() -> None:
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        raise DeviceFailed(
            "keys on devices need the library python-pkcs11", hint="Install it: pip install 'customhouse[hsm]'"
        ) from None


def _private(session: Any, uri: Uri) -> Any:
    from pkcs11 import Attribute, ObjectClass

    template: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    template |= {Attribute.LABEL: uri.label} if uri.label else {}
    template |= {Attribute.ID: uri.id} if uri.id else {}
    found = list(session.get_objects(template))
    if len(found) == 1:
        return found[0]
    wanted = uri.label or uri.id.hex() or "any key"
    if not found:
        raise NoSuchKey(f"the token {uri.token!r} has no private key {wanted!r}", hint="See object= and id= of its URI")
    labels = ", ".join(sorted({str(key.label) for key in found}))
    raise InvalidUri(f"{len(found)} private keys of the token fit ({labels}); say object= and id=")


def _public(key: Any) -> PublicKey:
    from pkcs11 import Attribute, KeyType

    if key.key_type == KeyType.RSA:
        exponent, modulus = (bytes(key[part]) for part in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
        return PublicKey.of(numbers.public_key())
    if key.key_type not in (KeyType.EC, KeyType.EC_EDWARDS):
        raise DeviceFailed("the key on the token is neither ECDSA nor RSA nor Ed25519")
    parameters, point = bytes(key[Attribute.EC_PARAMS]), _unwrapped(bytes(key[Attribute.EC_POINT]))
    if parameters in _CURVES:
        return PublicKey.of(ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[parameters](), point))
    if key.key_type == KeyType.EC_EDWARDS and len(point) == 32:
        return PublicKey.of(ed25519.Ed25519PublicKey.from_public_bytes(point))
    raise DeviceFailed("the key on the token is on a curve that clients do not know")


def _unwrapped(point: bytes) -> bytes:
    """The content of a DER OCTET STRING; some devices give it bare."""
    if point[:1] == b"\x04" and len(point) > 2:
        start = 2 + (point[1] & 0x7F if point[1] & 0x80 else 0)
        length = int.from_bytes(point[2:start], "big") if point[1] & 0x80 else point[1]
        if start + length == len(point):
            return point[start:]
    return point


def _pin_from(path: str) -> str:
    try:
        return Path(path).read_text().splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        raise InvalidUri(f"its pin-source {path} holds no PIN") from None


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, text.split(separator)):
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise InvalidUri("it holds the PIN itself; give pin-source=file:/path")
        if name not in known or not equals or name in found:
            raise InvalidUri(f"{name[:40]!r} is not known, or is there twice")
        if re.search(r"%(?![0-9A-Fa-f]{2})|[\x00-\x20\x7f]", value):
            raise InvalidUri(f"the value of {name} is not percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidUri(f"the value of {name} is not UTF-8") from None

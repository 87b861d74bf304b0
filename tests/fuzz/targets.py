"""What is fuzzed: a parser of hostile bytes each, what it may raise, and what must hold of all that it accepts.

1. A target takes any bytes and says whether they were accepted; what it raises is a bug. Refusals of the parser's own
   classes are expected.
2. `seeds` are valid inputs, from which a fuzzer begins; every seed must be accepted.
3. Inputs that once broke something are in `cases/<target>/` and are tried by the ordinary tests.
"""

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from customhouse.errors import TooLarge
from customhouse.keyfiles import InvalidKeyFile, KeyFile, WrongPassphrase, read_key_file, write_key_file
from customhouse.keys import KEY_TYPES, InvalidKey, PrivateKey, PublicKey
from customhouse.testing.spoilers import HARMLESS
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust.canonical import NotCanonical, canonical, parse, published
from customhouse.trust.certificates import CertificateRefused, fitting, require_leaf, root_certificate
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.metadata import Root, Targets, parse_file
from customhouse.trust.multipart import MalformedUpload, NoFilename, UploadParser
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, InvalidRole
from customhouse.trust.verify import valid_signers
        Target("secrets", scanners.secrets, scanners.secrets_seeds),
        Target("malware", scanners.malware, scanners.malware_seeds),

"""Every way to break a repository that the tests know, as a list: `SPOILERS`; and `HARMLESS`, what must still pass.

    for spoiler in SPOILERS:
        for role in spoiler.roles:
            sim = TrustSimulator.complete("hub.example.com/acme/web", now)
            expected = spoiler.at_client(sim, role)
            spoiler.apply(sim, role)
            ...  # give sim.files() to a verifier: it must refuse, or leave the delegation out
"""

from customhouse.testing.spoilers.encodings import ENCODINGS
from customhouse.testing.spoilers.fields import FIELDS
from customhouse.testing.spoilers.harmless import HARMLESS
from customhouse.testing.spoilers.keys import KEYS
from customhouse.testing.spoilers.sets import SETS
from customhouse.testing.spoilers.signatures import SIGNATURES
from customhouse.testing.spoilers.spoiler import Refusal, Said, Spoiler

SPOILERS = (*FIELDS, *SIGNATURES, *KEYS, *SETS, *ENCODINGS)

__all__ = ["HARMLESS", "SPOILERS", "Refusal", "Said", "Spoiler"]

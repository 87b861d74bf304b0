"""What the doctor says must reach those who ask."""

import json

from customhouse.doctor import Break
from customhouse.oci.digest import Digest
from customhouse.trust.names import Gun


def test_a_break_of_a_digest_or_a_gun_is_plain_text() -> None:
    for subject in (Digest.of(b"x"), Gun("localhost:5443/acme/web")):
        document = Break("R1", subject, "altered").as_json()
        assert [type(value) for value in document.values()] == [str, str, str]
        assert json.loads(json.dumps(document))["subject"] == str(subject)

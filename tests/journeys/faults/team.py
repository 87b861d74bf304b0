"""A publisher whose root the hub keeps, and a repository that begins anew, cut anywhere and taken up again."""

from customhouse.keys import PrivateKey
from tests.hub_process import Refused
from tests.journeys.faults.scenarios import RESTS, Scenario
from tests.publisher import Publisher, image


class Team(Scenario):
    """A signer is enrolled, a repository begins and is signed with his one key; another signer comes and goes."""

    def prepare(self) -> None:
        self.owner = self.site.name("team")
        self.member = Publisher(self.hub, self.site.folder / self.owner, self.owner, f"user-{self.owner}")
        self.member.join()
        self.key, self.other = self.member.directory.create("alice").public, PrivateKey.generate().public
        self.built = image(self.name)

    def act(self) -> None:
        path = f"/api/v1/publishers/{self.owner}/signers"
        self.hub.api("POST", path, {"name": "alice", "key": self.key.pem.decode()})
        self.hub.wait_for(self.member.release(self.name, "1", self.built), *RESTS)
        self.hub.api("POST", path, {"name": "bob", "key": self.other.pem.decode()})
        self.member.release(self.name, "1", self.built)
        try:
            self.hub.api("DELETE", f"{path}/bob")
        except Refused as error:
            if error.status != 404:
                raise

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        reference = f"staging/{self.owner}/{self.name}:1"
        assert self.hub.wait_for(reference, "published")["digest"] == self.built.digest
        self.site.assert_published_once(self.name, "1", self.built, publisher=self.owner)
        assert len(self.site.audit("root.enrol", self.owner)) == 1
        signers = self.hub.api("GET", f"/api/v1/publishers/{self.owner}/signers")["signers"]
        assert signers == [{"name": "alice", "key_id": self.key.key_id}]
        assert [entry.role for entry in self.member.directory.entries()] == ["alice"], "no root, no targets key"


class Reset(Scenario):
    """A repository whose keys were lost begins anew by a person's word."""

    def prepare(self) -> None:
        self.owner = self.site.name("lost")
        self.member = Publisher(self.hub, self.site.folder / self.owner, self.owner, f"user-{self.owner}")
        self.member.join()
        self.member.enrol_key()
        self.built = image(self.name)
        self.hub.wait_for(self.member.release(self.name, "1", self.built), "published")

    def act(self) -> None:
        staging = self.member.repository(self.name)
        try:
            self.hub.api("POST", "/api/v1/trust/reset", {"repository": staging, "reason": "the disk is gone"})
        except Refused as error:
            if error.status != 404:
                raise
        anew = Publisher(self.hub, self.site.folder / f"{self.owner}-anew", self.owner, f"user-{self.owner}")
        anew.login = self.member.login
        anew.enrol_key()
        anew.release(self.name, "2", image(f"{self.name} anew"))
        self.hub.wait_for(f"{staging}:2", *RESTS)

    def settle(self) -> None:
        if not self.site.audit("trust.reset", self.member.gun(self.name)):
            self.act()
        self.hub.wait_for(f"{self.member.repository(self.name)}:2", "published")

    def check(self) -> None:
        assert len(self.site.audit("trust.reset", self.member.gun(self.name))) == 1
        trusted = self.site.official(self.name, self.owner)
        assert trusted is not None
        assert set(trusted.tags) == {"1", "2"}


ALL: tuple[type[Scenario], ...] = (Team, Reset)

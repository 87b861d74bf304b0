"""What every trust server must be tried with, with the real clients: each line is proved by at least one test that
carries its name, `@pytest.mark.checklist("3.cached")`. tests/architecture/test_checklist.py compares both ways.
"""

CHECKLIST = {
    "1.publish": "notary init, add, publish, list; the image becomes official",
    "1.verify": "notary verify, of the publisher's signature and of the hub's",
    "1.rotate-snapshot": "notary key rotate snapshot -r: from the publisher's key to the server's",
    "1.rotate-targets": "notary key rotate targets",
    "1.rotate-timestamp": "notary key rotate timestamp -r",
    "1.rotate-root": "notary key rotate root, three times; the publisher stays the one who was enrolled",
    "1.cached-docker": "docker pulls, which cached the root of version 1",
    "1.cached-notary": "notary lists and verifies, which cached the root of version 1",
    "2.push-new": "docker push of a new repository",
    "2.second-tag": "docker push of a second tag",
    "2.same-again": "docker push of the same again: an update without files",
    "2.push-all": "docker push -a signs nothing",
    "2.sign-fresh": "docker trust sign in a new repository",
    "2.sign-existing": "docker trust sign of a tag that is signed",
    "2.sign-local": "docker trust sign --local",
    "2.signer-add": "docker trust signer add, two of them, and both sign",
    "2.revoke-tag": "docker trust revoke of a tag",
    "2.revoke-repository": "docker trust revoke of a repository",
    "2.inspect": "docker trust inspect, plain and --pretty, says what customhouse trust list says",
    "11.push": "docker 28 on a containerd image store pushes, cannot sign, and the image stays unsigned with a reason",
    "11.sign": "our own signer signs what docker 28 could not",
    "11.docker29": "docker 29 pushes and pulls as if DOCKER_CONTENT_TRUST were not set; our commands do the work",
}

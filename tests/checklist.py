"""What every trust server must be tried with, with the real clients: each line is proved by at least one test that
carries its name, `@pytest.mark.checklist("3.cached")`. tests/architecture/test_checklist.py compares both ways.
"""

CHECKLIST = {
    "11.push": "docker 28 on a containerd image store pushes, cannot sign, and the image stays unsigned with a reason",
    "11.sign": "our own signer signs what docker 28 could not",
    "11.docker29": "docker 29 pushes and pulls as if DOCKER_CONTENT_TRUST were not set; our commands do the work",
}

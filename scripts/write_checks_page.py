"""Write docs/reference/checks.md from the declarations of the checks."""

from pathlib import Path

from customhouse.certification.check import discover
from customhouse.certification.policy import Policy
from customhouse.certification.reference import page

if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs" / "reference" / "checks.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(discover(), Policy.default()), encoding="utf-8")
    print(target)

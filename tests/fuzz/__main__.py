"""`python -m tests.fuzz [--seconds N] [TARGET …]`: each target in turn, in a process of its own, led by coverage.

Ends with 1 when one broke; the input that did it is shown, and the folder where it lies.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "metadata", "json", "upload", "key-file", "public-key", "manifest", "names", "osv", "kev", "epss", "openvex",
    "secrets", "malware",

"""Prints, as JSON, the Pulumi packages installed in this environment that need a resource plugin.

Each says so in a pulumi-plugin.json beside its code. Looking there, and not through importlib.metadata, saves every
preview from reading the lists of files of all that is installed.
"""

import json
import sys
from pathlib import Path

found = []
for folder in sys.path:
    for file in sorted(Path(folder).glob("*/pulumi-plugin.json")):
        plugin = json.loads(file.read_text())
        if plugin.get("resource"):
            version, server = plugin["version"], plugin.get("server", "")
            found.append({"Name": plugin["name"], "Version": f"v{version}", "Server": server})
sys.stdout.write(json.dumps(found))

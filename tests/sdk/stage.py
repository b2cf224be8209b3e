"""Providers that fail, a gateway before them for each scenario, and the official SDKs as clients.

`stage.py <gateway> <directory>`: the directory has the SDKs installed. Ends with `N passed, N failed`.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import upstreams

# What the first and the second provider do.
SCENARIOS = {
    "well": ("well", "well"),
    "refuses": ("refuses", "well"),
    "unavailable": ("unavailable", "well"),
    "dies": ("dies", "well"),
    "slow": ("slow", "well"),
    "breaks": ("breaks", "well"),
    "all refuse": ("refuses", "refuses"),
    "all unavailable": ("unavailable", "unavailable"),
    "all die": ("dies", "dies"),
    "all slow": ("slow", "slow"),
    "all limited": ("limited", "limited"),
}

# With breakers a dead model is not even asked after a while: here every request is to begin with it.
FILE = """
[gateway]
listen = "127.0.0.1:0"

[failover]
attempt_timeout = "500ms"
order = "listed"
providers = [
    {{ name = "first", base_url = "{first}", credential = {{ bearer_env = "PROVIDER_KEY" }}{breaker} }},
    {{ name = "second", base_url = "{second}", credential = {{ bearer_env = "PROVIDER_KEY" }}{breaker} }},
]
models = [
    {{ name = "one", provider = "first"{breaker} }},
    {{ name = "two", provider = "second"{breaker} }},
]
"""


def start(program, directory, name, providers):
    breaker = "" if name.startswith("all") else ", breaker = { trip = [] }"
    stem = directory / name.replace(" ", "_")
    stem.with_suffix(".toml").write_text(FILE.format(**providers, breaker=breaker))
    log = stem.with_suffix(".log")
    with log.open("w") as output:
        environment = {**os.environ, "PROVIDER_KEY": "of-the-provider"}
        process = subprocess.Popen([program, stem.with_suffix(".toml")], stderr=output, env=environment)
    for _ in range(200):
        if found := re.search(r"listening address=(\S+)", log.read_text()):
            return process, f"http://{found[1]}/v1"
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the gateway of {name!r} did not start: {log.read_text()}")


def run(command):
    """Passes on what the checks say, and counts it. One that ends early, or says nothing, has failed."""
    passed = failed = 0
    client = subprocess.Popen(["timeout", "240", *command], stdout=subprocess.PIPE, text=True)
    try:
        for line in client.stdout:
            print(line, end="", flush=True)
            passed += line.startswith("ok ")
            failed += line.startswith("FAILED ")
        if client.wait() != 0 or passed + failed == 0:
            print(f"FAILED  {command[0]} ended with {client.returncode}")
            failed += 1
    finally:
        client.kill()
    return passed, failed


def stop(gateways):
    """All of them end when they are told to, and say that all is well."""
    for gateway in gateways:
        gateway.terminate()
    try:
        ended = [gateway.wait(timeout=20) for gateway in gateways]
    except subprocess.TimeoutExpired as error:
        ended = [error]
    print("FAILED  gateways ended with" if any(ended) else "ok      gateways ended with", *ended)
    return (0, 1) if any(ended) else (1, 0)


def main():
    program, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    here = pathlib.Path(__file__).parent
    bases, gateways, urls = upstreams.start(), [], {}
    try:
        for name, (first, second) in SCENARIOS.items():
            gateway, urls[name] = start(program, directory, name, {"first": bases[first], "second": bases[second]})
            gateways.append(gateway)
        counts = [
            run([sys.executable, here / "test_openai.py", json.dumps(urls)]),
            run(["node", directory / "node" / "openai.test.mjs", json.dumps(urls)]),
            stop(gateways),
        ]
    except RuntimeError as error:
        print(f"FAILED  {error}")
        counts = [(0, 1)]
    finally:
        for gateway in gateways:
            gateway.kill()
    passed, failed = map(sum, zip(*counts))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()

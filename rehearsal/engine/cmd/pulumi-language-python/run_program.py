"""Runs a Pulumi program: run_program.py SETTINGS PROGRAM [ARGS...], SETTINGS being the engine's addresses as JSON."""

import asyncio
import gc
import json
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

# Importing pulumi_aws makes millions of objects that stay: looking among them for garbage costs a third of the import.
gc.set_threshold(1_000_000)

try:
    import pulumi
    import pulumi.runtime
except ImportError:
    traceback.print_exc()
    sys.exit("The Pulumi SDK is not installed in this environment.")

ERROR_SHOWN = 32


def program() -> None:
    """The program, as Python runs a script or a folder."""
    runpy.run_path(sys.argv[0], run_name="__main__")


def run() -> int:
    """Run the program to its end, and give the exit status that the language host expects."""
    settings = json.loads(sys.argv[1])
    sys.argv = sys.argv[2:]
    sys.path.insert(0, os.getcwd())
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(pulumi.runtime.Settings(**settings))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(settings["parallel"] or 1, 1) * 4)
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception:  # noqa: BLE001 - whatever the program raises
        pulumi.log.error("Program failed with an unhandled exception:\n" + traceback.format_exc())
        return ERROR_SHOWN
    finally:
        executor.shutdown(wait=True)
        loop.close()
    return 0


status = run()
# The program is done. Taking pulumi_aws apart again, object by object, would keep the user waiting.
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)

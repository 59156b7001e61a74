import assert from "node:assert/strict";
import { test } from "node:test";
import { GantryError } from "#base/errors.ts";
import { launchFailure } from "./start-failure.ts";

const told = (text: string, exitCode = 128, program = "x"): string =>
  launchFailure(new GantryError("internal", text, { data: { exitCode } }), program).message;
const prefix =
  "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ";

test("what crun says is told in runc's words, with docker's hints", () => {
  assert.equal(
    told("mount `/f` to `etc`: Not a directory"),
    `${prefix}unable to start container process: error during container init: error mounting "/f" to rootfs at "/etc": mount src=/f, dst=/etc, flags=MS_BIND|MS_REC: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`,
  );
  assert.equal(
    told("the sysctl `net.ipv4.ip_forward` requires a new network namespace"),
    `${prefix}sysctl "net.ipv4.ip_forward" not allowed in host network namespace: unknown`,
  );
  assert.equal(
    told('exec: "/tmp": is a directory', 126),
    `${prefix}unable to start container process: error during container init: exec: "/tmp": is a directory: unknown: permission denied`,
  );
  assert.equal(told("something else"), `${prefix}unable to start container process: something else: unknown`);
});

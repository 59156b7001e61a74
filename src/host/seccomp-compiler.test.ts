import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { compileSeccomp } from "./seccomp-compiler.ts";

const architectures = [process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"];
const deny = { defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1, architectures };

test("a profile becomes a program of whole instructions, the same each time", () => {
  const profile = { ...deny, syscalls: [{ names: ["read", "write", "no_such_call"], action: "SCMP_ACT_ALLOW" }] };
  const before = readdirSync("/proc/self/fd").length;
  const program = compileSeccomp(profile);
  assert.ok(program !== undefined && program.length > 0 && program.length % 8 === 0);
  assert.deepEqual(compileSeccomp(profile), program);
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("conditions on arguments change the program", () => {
  const rule = (value: number): Buffer | undefined =>
    compileSeccomp({
      ...deny,
      syscalls: [{ names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value, op: "SCMP_CMP_NE" }] }],
    });
  assert.notDeepEqual(rule(40), rule(41));
});

test("what only the runtime can do is left to it", () => {
  assert.equal(compileSeccomp({ ...deny, defaultAction: "SCMP_ACT_NOTIFY" }), undefined);
  assert.equal(compileSeccomp({ ...deny, architectures: ["SCMP_ARCH_NONE"] }), undefined);
  const odd = { index: 0, value: 1, op: "SCMP_CMP_NEAR" };
  assert.equal(
    compileSeccomp({ ...deny, syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", args: [odd] }] }),
    undefined,
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalString, familiarString, isLoopbackRegistry, parseReference, withDefaultTag } from "./reference.ts";

test("short names become full ones and come back short", () => {
  const cases: [string, string, string][] = [
    ["busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["gantry/hello", "docker.io/gantry/hello:latest", "gantry/hello:latest"],
    ["localhost/a", "localhost/a:latest", "localhost/a:latest"],
    ["127.0.0.1:5000/a/b:1.0", "127.0.0.1:5000/a/b:1.0", "127.0.0.1:5000/a/b:1.0"],
    ["index.docker.io/library/x", "docker.io/library/x:latest", "x:latest"],
    ["[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"],
  ];
  for (const [text, full, short] of cases) {
    const reference = withDefaultTag(parseReference(text));
    assert.equal(canonicalString(reference), full);
    assert.equal(familiarString(reference), short);
  }
});

test("digests are kept and stop the default tag", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  assert.equal(familiarString(withDefaultTag(parseReference(`busybox@${digest}`))), `busybox@${digest}`);
});

test("bad references are refused in docker's words", () => {
  for (const text of ["", ":", "a:", "a@b", "-a", "a//b", "a/_b", `a:${"x".repeat(129)}`, "http://a/b"]) {
    assert.throws(() => parseReference(text), { code: "invalid", message: /invalid reference format/ }, text);
  }
  assert.throws(() => parseReference("Busybox"), {
    message: "invalid reference format: repository name (library/Busybox) must be lowercase",
  });
  assert.throws(() => parseReference("a".repeat(64)), { message: /cannot specify 64-byte hexadecimal strings/ });
});

test("this machine's registries need no configuration", () => {
  for (const domain of ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1:5000", "[::1]:5000"])
    assert.ok(isLoopbackRegistry(domain), domain);
  for (const domain of ["docker.io", "10.0.0.1:5000", "localhost.example.com"])
    assert.ok(!isLoopbackRegistry(domain), domain);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { fitsPlatform, formatPlatform, parsePlatform } from "./platform.ts";

test("a platform fits when system and architecture do, and the variant where one is asked for", () => {
  const amd64 = { os: "linux", architecture: "amd64" };
  assert.ok(fitsPlatform(amd64, parsePlatform("linux/x86_64")));
  assert.ok(!fitsPlatform(amd64, parsePlatform("linux/arm64")));
  assert.ok(fitsPlatform({ os: "linux", architecture: "arm64" }, parsePlatform("linux/arm64/v8")));
  assert.ok(!fitsPlatform({ os: "linux", architecture: "arm", variant: "v6" }, parsePlatform("linux/arm/v7")));
  assert.equal(formatPlatform({ os: "linux", architecture: "arm", variant: "v6" }), "linux/arm/v6");
  assert.throws(() => parsePlatform("nonsense/"), { message: /^"" is an invalid component of "nonsense\/"/ });
});

import { strict as assert } from "node:assert";
import { test } from "node:test";
import { appArmorProfile } from "./apparmor.ts";

const named = { SecurityOpt: ["apparmor=mine"] };

test("a container that names no profile has docker's, and one that names a profile has that", () => {
  assert.equal(appArmorProfile({}, false, true), "docker-default");
  assert.equal(appArmorProfile(named, false, true), "mine");
  assert.equal(appArmorProfile({ SecurityOpt: ["apparmor:unconfined"] }, false, true), "unconfined");
});

test("a privileged container is unconfined, but a pod's may name a profile", () => {
  assert.equal(appArmorProfile({ ...named, Privileged: true }, false, true), "unconfined");
  assert.equal(appArmorProfile({ Privileged: true }, true, true), "unconfined");
  assert.equal(appArmorProfile({ ...named, Privileged: true }, true, true), "mine");
});

test("where the kernel has no AppArmor, there is no profile", () => {
  assert.equal(appArmorProfile(named, false, false), "");
});

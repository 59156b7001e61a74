import assert from "node:assert/strict";
import { test } from "node:test";
import { systemdUnit } from "./install-service.ts";

const value = (unit: string, key: string): string => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1] ?? "";

test("the default instance needs no options", () => {
  const unit = systemdUnit("/opt/gantry/gantry", "default", undefined);
  assert.equal(value(unit, "ExecStart"), "/opt/gantry/gantry up --no-demo --no-switch");
  assert.equal(value(unit, "ExecStop"), "/opt/gantry/gantry down --keep-containers");
  assert.equal(value(unit, "ExecReload"), "/bin/kill -s HUP $MAINPID");
  assert.equal(value(unit, "PIDFile"), "/run/gantry/default/gantry.pid");
  assert.equal(value(unit, "KillMode"), "process");
});

test("names and paths reach the command as they are", () => {
  const unit = systemdUnit("/srv/my gantry/gantry", "ci", '/data/100% $of "it"');
  assert.equal(
    value(unit, "ExecStart"),
    '"/srv/my gantry/gantry" up --no-demo --no-switch --name ci --root "/data/100%% $$of \\"it\\""',
  );
});

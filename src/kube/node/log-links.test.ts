import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LogLinks } from "./log-links.ts";

test("a log is found by pod, namespace, container and id, until its container is gone", async (context) => {
  const root = mkdtempSync(join(tmpdir(), "gantry-loglinks-"));
  context.after(() => rmSync(root, { recursive: true }));
  const folder = join(root, "containers");
  const links = new LogLinks(folder);
  const log = (name: string): string => {
    writeFileSync(join(root, name), `${name}\n`);
    return join(root, name);
  };
  const id = "ab".repeat(32);
  await links.add({ pod: "web", namespace: "shop", name: "nginx", id }, log("0.log"));
  await links.add({ pod: "web", namespace: "shop", name: "nginx", id }, join(root, "0.log"));
  await links.add({ pod: "x".repeat(253), namespace: "n".repeat(63), name: "c", id }, log("1.log"));
  const [first = "", second = ""] = readdirSync(folder).sort();
  assert.equal(first, `web_shop_nginx-${id}.log`);
  assert.ok(second.length === 255 && second.endsWith(`_${"n".repeat(63)}_c-${id}.log`));
  assert.equal(readFileSync(join(folder, first), "utf8"), "0.log\n");
  writeFileSync(join(folder, "somebody's"), "");
  rmSync(join(root, "0.log"));
  await links.removeDead();
  assert.deepEqual(readdirSync(folder).sort(), ["somebody's", second]);
});

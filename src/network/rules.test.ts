import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { type BridgeRule, bridgeElements, elementCommands, portElements, tableText } from "./rules.ts";

const bridge: BridgeRule = {
  name: "gt3-x",
  subnets4: ["10.163.0.0/24"],
  subnets6: ["fd00:3::/64"],
  internal: false,
  icc: true,
  masquerade: true,
  routed: false,
  hairpin: true,
  trusted: [],
};

test("a bridge is a handful of elements, an internal one is never masqueraded", () => {
  const sets = bridgeElements(bridge).map((element) => element.set);
  assert.deepEqual(sets, ["bridges", "within", "masquerade4", "masquerade6", "hairpin4", "hairpin6"]);
  const internal = bridgeElements({ ...bridge, internal: true, icc: false });
  assert.ok(internal.some((element) => element.set === "internal"));
  assert.ok(!internal.some((element) => element.set === "masquerade4"));
  assert.equal(internal.find((element) => element.set === "within")?.value, "drop");
});

test("a published port is one element in the map of its kind", () => {
  const port = { protocol: "tcp" as const, hostIp: "", hostPort: 8080, targetIp: "10.163.0.2", targetPort: 80 };
  assert.equal(
    elementCommands("t", "add", portElements(port)),
    "add element inet t any_ports4 { tcp . 8080 : 10.163.0.2 . 80 }\n",
  );
  assert.equal(
    elementCommands("t", "delete", portElements({ ...port, hostIp: "127.0.0.1" })),
    "delete element inet t ports4 { tcp . 127.0.0.1 . 8080 }\n",
  );
  assert.equal(portElements({ ...port, hostIp: "::", targetIp: "fd00::2" })[0]?.set, "any_ports6");
});

test("nft takes the whole table with everything in it", () => {
  const text = tableText("gantry-t3", {
    bridges: [
      bridge,
      {
        ...bridge,
        name: "gt3-pods",
        subnets4: ["10.67.0.0/16"],
        subnets6: [],
        routed: true,
        hairpin: false,
        trusted: ["eth9"],
      },
    ],
    ports: [
      { protocol: "tcp", hostIp: "", hostPort: 80, targetIp: "10.163.0.2", targetPort: 80, selfHairpin: true },
      { protocol: "udp", hostIp: "127.0.0.1", hostPort: 53, targetIp: "10.163.0.2", targetPort: 53 },
      { protocol: "sctp", hostIp: "::", hostPort: 99, targetIp: "fd00:3::2", targetPort: 99 },
    ],
    noMasquerade4: ["10.67.0.0/16"],
  });
  const checked = spawnSync("nft", ["-c", "-f", "/dev/stdin"], { input: text, encoding: "utf8" });
  assert.equal(checked.stderr, "");
  assert.equal(checked.status, 0);
});

/**
 * Test support: the second host of an overlay. Runs as a program in a namespace of its own, makes the network and
 * one container that greets on port 80, says "ready <address>", and cleans up when its stdin ends.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "#base/log.ts";
import { closeServers, greet, newNamespace, removeNamespaces } from "./isolated-machine.ts";
import { Networking } from "./networking.ts";

const stateDir = mkdtempSync(join(tmpdir(), "gantry-peer-"));
const networking = new Networking(
  {
    linkPrefix: "gt3",
    nftTable: "gantry-t3",
    stateDir,
    defaultBridge: { name: "gt3-docker", subnet: "10.131.0.0/16" },
    pools: [],
  },
  { log: silentLogger },
);
await networking.recover({ endpoints: [], pods: [] });
await networking.networks.create({
  Name: "wide",
  Driver: "overlay",
  IPAM: { Config: [{ Subnet: "10.50.0.0/24", IPRange: "10.50.0.128/25", Gateway: "10.50.0.254" }] },
  Options: { "gantry.overlay.local": "192.0.2.2", "gantry.overlay.peers": "192.0.2.1,192.0.2.2" },
});
const endpoint = await networking.networks.connect({
  network: "wide",
  containerId: "f".repeat(64),
  containerName: "far",
  netnsPath: newNamespace(),
});
await greet(endpoint.netnsPath, 80, "far");
process.stdout.write(`ready ${endpoint.ipv4}\n`);
process.stdin.resume().on("end", () => {
  closeServers();
  networking
    .removeAll()
    .then(() => {
      networking.close();
      removeNamespaces();
      rmSync(stateDir, { recursive: true });
    })
    .catch((error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "#base/log.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import { deleteLinks, linkIndex } from "#host/links.ts";
import { NetlinkSocket } from "#host/netlink-socket.ts";
import { requireCidr } from "#network/addresses.ts";
import { removeFallbackRoutes } from "#network/network-link.ts";
import type { NetworkingOptions } from "#network/networking.ts";
import type { InstanceConfig } from "./instance-config.ts";

/** What the networking was made with, as long as the machine runs: links and routes do not outlive that either. */
function keptFile(config: InstanceConfig): string {
  return join(config.runDir, "networking.json");
}

/** The options of the networking that is in the kernel now, or undefined when nothing was made since boot. */
export function networkingInForce(config: InstanceConfig): NetworkingOptions | undefined {
  try {
    return JSON.parse(readFileSync(keptFile(config), "utf8")) as NetworkingOptions;
  } catch {
    return undefined;
  }
}

function ranges(options: NetworkingOptions): string[] {
  return [...options.pools.map(({ base }) => base), options.defaultBridge.subnet];
}

/**
 * Takes away what an earlier configuration has made and a new one would not find again: routes of address ranges
 * that are not ours any more, and the default bridge when it gets other addresses. Remembers the new one.
 */
export async function settleNetworkChange(
  config: InstanceConfig,
  options: NetworkingOptions,
  log: Logger,
): Promise<void> {
  const before = networkingInForce(config);
  if (before !== undefined) {
    const gone = ranges(before).filter((range) => !ranges(options).includes(range));
    const addressed = ({ defaultBridge: { name, subnet, gateway, ipv6 } }: NetworkingOptions): string =>
      JSON.stringify([name, subnet, gateway, ipv6]);
    const bridge = before.defaultBridge.name;
    const moves = addressed(before) !== addressed(options) && linkIndex(bridge) > 0;
    if (gone.length > 0 || moves) {
      const socket = NetlinkSocket.open();
      try {
        await removeFallbackRoutes(socket, gone.map(requireCidr));
        if (moves) await deleteLinks(socket, [bridge]);
      } finally {
        socket.close();
      }
      log.info("The addresses of the default bridge or of new networks have changed.", { gone, bridge });
    }
  }
  writeFileAtomicSync(keptFile(config), JSON.stringify(options));
}

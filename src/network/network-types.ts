/**
 * The data that crosses the border between the network layer and the engine. All of it is plain JSON, so that
 * the engine can keep an endpoint in the container's own file and give it back to `recover` after a restart.
 */

export type Protocol = "tcp" | "udp" | "sctp";

/** One port to publish, as `docker -p` asks for it. */
export interface PublishRequest {
  protocol: Protocol;
  containerPort: number;
  /** Address of the machine; "" or `0.0.0.0` is every IPv4 address, `::` every IPv6 one. */
  hostIp: string;
  /** One port, a range of which the first free one is taken, or undefined for any free one. */
  hostPort?: { from: number; to: number };
}

/** A port that is published now: what `docker port` and `NetworkSettings.Ports` show. */
export interface PublishedPort {
  protocol: Protocol;
  containerPort: number;
  hostIp: string;
  hostPort: number;
}

/** What a container wants of one network. Addresses without prefix length. */
export interface EndpointRequest {
  /** Name, id or prefix of an id. */
  network: string;
  containerId: string;
  /** Without slash: errors, `docker network inspect` and DNS show it. */
  containerName: string;
  /** A file that names the network namespace (`/run/…/netns/x`, `/proc/<pid>/ns/net`). */
  netnsPath: string;
  ipv4?: string;
  ipv6?: string;
  /** `02:42:…`; made from the IPv4 address when absent. */
  mac?: string;
  /** Names that the embedded DNS answers on this network, besides the container's name, short id and hostname. */
  aliases?: string[];
  /** Names that this container alone has for others on this network: its own name to one of theirs. */
  links?: Record<string, string>;
  hostname?: string;
  /** Published when this endpoint gives the container its way out. */
  ports?: PublishRequest[];
  /** docker's `GwPriority`: the highest gives the default route, of equals the first connected. */
  gatewayPriority?: number;
  /** The interface's name in the container; `eth0` and so on when absent. */
  interfaceName?: string;
  /** Settings of the interface: `net.ipv4.conf.IFNAME.log_martians=1`, the word IFNAME as it is. */
  sysctls?: string[];
  /** More addresses, which only the link knows. */
  linkLocal?: string[];
  /** The servers that the embedded DNS asks for this container (`docker run --dns`); the machine's when absent. */
  dns?: string[];
}

/** An endpoint that exists. Keep it, and give it to `recover` at the next start. */
export interface Endpoint {
  endpointId: string;
  networkId: string;
  networkName: string;
  driver: string;
  containerId: string;
  containerName: string;
  hostname: string;
  netnsPath: string;
  /** In the container: `eth0`. "" for `host` and `none`. */
  interfaceName: string;
  /** On the machine; "" where the driver has none. */
  hostInterface: string;
  mac: string;
  ipv4: string;
  ipv4PrefixLength: number;
  gateway: string;
  ipv6: string;
  ipv6PrefixLength: number;
  ipv6Gateway: string;
  aliases: string[];
  /** As requested; endpoints from before there were links have none. */
  links?: Record<string, string>;
  dns?: string[];
  ports: PublishedPort[];
  gatewayPriority: number;
}

/** What a pod gets from the pod network. */
export interface PodEndpoint {
  sandboxId: string;
  netnsPath: string;
  interfaceName: string;
  hostInterface: string;
  mac: string;
  ips: string[];
  gateway: string;
  ports: PublishedPort[];
}

/** A link whose owner is unknown, a network whose bridge was missing…: what `recover` did, for the log. */
export interface RecoveryReport {
  removedLinks: string[];
  recreatedBridges: string[];
  /** Endpoints whose link is gone (their namespace died): the engine should treat the container as dead. */
  lostEndpoints: string[];
  /** Ports that another program took while nobody watched. */
  lostPorts: PublishedPort[];
}

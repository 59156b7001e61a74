/**
 * The API server's front door: what the composition root (or an embedding program) gives it, and what it
 * gets. `createApiServer(options, parts)` is in `create.ts`.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { KubeClient } from "#kube/client/client.ts";
import type { Store } from "#store/store.ts";
import type { UserInfo } from "./user.ts";

export interface ApiServerOptions {
  /** Where to listen; port 0 picks a free one (then the first address's port is used for all). */
  listen: { host: string; port: number }[];
  /** The address and port that pods reach the API server at: endpoints of the `kubernetes` Service. */
  advertise?: { address: string; port?: number };
  /** `10.96.0.0/16`: Service addresses; its first address is the `kubernetes` Service's. */
  serviceCidr: string;
  nodePortRange: { from: number; to: number };
  /** `iss` of service account tokens and their default audience. */
  serviceAccountIssuer?: string;
  /** A bearer token that is `system:masters`. */
  adminToken?: string;
  /** Gantry's own version, shown in `/version` as `v1.36.0+gantry-<version>`. */
  gantryVersion?: string;
  /** How many events each resource's watch window keeps. Default 4096. */
  watchWindow?: number;
}

export interface ApiServerParts {
  store: Store;
  log: Logger;
  clock?: Clock;
  /** Served certificate and key, and the CA whose client certificates are believed. All PEM. */
  tls: { cert: string; key: string; clientCa: string };
  /** Signs service account tokens; `publicKeys` (PEM) verify, the private key's own is always among them. */
  serviceAccountKeys: { privateKey: string; publicKeys?: string[] };
  /** Client certificate (PEM) for node agents, and the CA their serving certificates come from. */
  nodeClient?: { cert: string; key: string; ca?: string };
}

export interface ApiServer {
  /** After `start`: `https://host:port` of the first listener. */
  readonly url: string;
  readonly port: number;
  /** Fills the bootstrap objects, then listens; resolves when `/readyz` is ok. */
  start(): Promise<void>;
  /** Ends watches, closes connections, stops loops. The store stays open: its owner closes it. */
  stop(): Promise<void>;
  /** A client in process that acts as `user`; without one as `system:apiserver` (system:masters). Works before `start`. */
  client(user?: UserInfo): KubeClient;
}

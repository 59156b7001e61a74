import { systemClock } from "#base/clock.ts";
import { TaskGroup } from "#base/task-group.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { HttpServer } from "#web/server.ts";
import { Admission } from "./admission.ts";
import type { ApiServer, ApiServerOptions, ApiServerParts } from "./api-server.ts";
import { Authenticator } from "./authenticator.ts";
import { bootstrapObjects } from "./bootstrap.ts";
import { Discovery } from "./discovery.ts";
import { expireEvents } from "./event-expiry.ts";
import { type HealthCheck, HealthChecks } from "./health-checks.ts";
import { ApiHttpHandler, sendError } from "./http-handler.ts";
import { InProcessClient } from "./in-process-client.ts";
import { Metrics } from "./metrics.ts";
import { NodeConnection } from "./node-connection.ts";
import { NonResourcePaths } from "./non-resource-paths.ts";
import { OpenApiDocuments } from "./openapi-documents.ts";
import { Operations, type SubresourceHandler } from "./operations.ts";
import { RbacAuthorizer } from "./rbac-authorizer.ts";
import { escalationCheck } from "./rbac-escalation.ts";
import { Registry } from "./registry.ts";
import { ResourceHandler } from "./resource-handler.ts";
import { ResourceStore } from "./resource-store.ts";
import { ServiceAccountTokens } from "./service-account-tokens.ts";
import { versionInfo } from "./server-version.ts";
import { StoreFeed } from "./store-feed.ts";
import { allStrategies } from "./strategies/all-strategies.ts";
import { PodAdmission } from "./strategies/pod-admission.ts";
import { podStrategy } from "./strategies/pod-strategy.ts";
import { ServiceStrategy } from "./strategies/service-strategy.ts";
import { bindPod } from "./subresources/pod-binding.ts";
import { evictPod } from "./subresources/pod-eviction.ts";
import { reviewResources } from "./subresources/reviews.ts";
import { scaleSubresource } from "./subresources/scale.ts";
import { requestToken } from "./subresources/service-account-token.ts";
import { loopbackUser, type UserInfo } from "./user.ts";

/** Builds an API server. Nothing runs before `start`. */
export function createApiServer(options: ApiServerOptions, parts: ApiServerParts): ApiServer {
  return new GantryApiServer(options, parts);
}

const bookmarkEveryMs = 60_000;

class GantryApiServer implements ApiServer {
  readonly #options: ApiServerOptions;
  readonly #parts: ApiServerParts;
  readonly #tasks: TaskGroup;
  readonly #feed: StoreFeed;
  readonly #registry: Registry;
  readonly #services: ServiceStrategy;
  readonly #store: ResourceStore;
  readonly #authorizer: RbacAuthorizer;
  readonly #operations: Operations;
  readonly #server: HttpServer;
  #opening: Promise<void> | undefined;
  #bootstrapped = false;
  #stopping = false;
  #port = 0;

  constructor(options: ApiServerOptions, parts: ApiServerParts) {
    this.#options = options;
    this.#parts = parts;
    const { log, store, clock = systemClock, tls } = parts;
    this.#tasks = new TaskGroup({ name: "api server", log, clock });
    this.#feed = new StoreFeed(store, log);
    this.#services = new ServiceStrategy(options);
    const strategies = allStrategies({ ...podStrategy, admitCreate: (pod) => podAdmission.admit(pod) }, this.#services);
    const registry = new Registry({ watchWindow: options.watchWindow ?? 4096 }, store, this.#feed, strategies);
    this.#registry = registry;
    const cache = (name: string) => registry.handle(name).cache;
    const podAdmission = new PodAdmission({
      serviceAccounts: cache("/serviceaccounts"),
      priorityClasses: cache("scheduling.k8s.io/priorityclasses"),
    });
    const admission = new Admission(() => cache("/namespaces"));
    this.#store = new ResourceStore({ store, feed: this.#feed, clock, rules: admission });
    const rbac = "rbac.authorization.k8s.io";
    this.#authorizer = new RbacAuthorizer({
      roles: cache(`${rbac}/roles`),
      clusterRoles: cache(`${rbac}/clusterroles`),
      roleBindings: cache(`${rbac}/rolebindings`),
      clusterRoleBindings: cache(`${rbac}/clusterrolebindings`),
    });
    admission.addCheck(
      escalationCheck(this.#authorizer, { roles: cache(`${rbac}/roles`), clusterRoles: cache(`${rbac}/clusterroles`) }),
    );
    const issuer = options.serviceAccountIssuer ?? "https://kubernetes.default.svc.cluster.local";
    const tokens = new ServiceAccountTokens(issuer, parts.serviceAccountKeys, clock);
    const authenticator = new Authenticator({
      tokens,
      clock,
      adminToken: options.adminToken,
      caches: {
        serviceAccounts: cache("/serviceaccounts"),
        pods: cache("/pods"),
        secrets: cache("/secrets"),
        nodes: cache("/nodes"),
      },
    });
    this.#operations = new Operations({
      registry,
      store: this.#store,
      authorizer: this.#authorizer,
      subresources: this.#subresources(tokens),
      virtual: new Map([
        ...reviewResources(this.#authorizer, authenticator),
        [
          "/bindings",
          (body, namespace, context) =>
            bindPod(this.#store, registry.handle("/pods"), clock, namespace, body.metadata?.name ?? "", body, context),
        ],
      ]),
    });
    const nodes = new NodeConnection({
      pods: registry.handle("/pods"),
      nodes: registry.handle("/nodes"),
      services: registry.handle("/services"),
      endpointSlices: registry.handle("discovery.k8s.io/endpointslices"),
      tls: parts.nodeClient,
    });
    const metrics = new Metrics();
    for (const { type, cache: each } of registry.handles) {
      const label = type.group === "" ? type.resource : `${type.resource}.${type.group}`;
      metrics.gauge(`apiserver_storage_objects{resource="${label}"}`, () => each.size);
    }
    const discovery = new Discovery(registry);
    const paths = new NonResourcePaths({
      authorizer: this.#authorizer,
      discovery,
      openapi: new OpenApiDocuments(discovery),
      health: this.#health(),
      metrics,
      tokens,
      version: versionInfo(options.gantryVersion ?? "0.1.0"),
      address: () => `${this.#advertised().address}:${this.#advertised().port}`,
    });
    const handler = new ApiHttpHandler({
      authenticator,
      authorizer: this.#authorizer,
      resources: new ResourceHandler({ operations: this.#operations, nodes, clock, signal: this.#tasks.signal }),
      paths,
      metrics,
      clock,
      log,
    });
    this.#server = new HttpServer({
      name: "the API server",
      log,
      handler: handler.handle,
      onError: sendError,
      tls: { cert: tls.cert, key: tls.key, clientCa: tls.clientCa },
    });
  }

  get url(): string {
    const host = this.#options.listen[0]?.host ?? "127.0.0.1";
    return `https://${host.includes(":") ? `[${host}]` : host}:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  client(user: UserInfo = loopbackUser): KubeClient {
    return new InProcessClient(this.#operations, user, () => this.#open());
  }

  async start(): Promise<void> {
    await this.#open();
    for (const { host, port } of this.#options.listen) {
      const bound = await this.#server.listen({ host, port: port === 0 ? this.#port : port });
      if (this.#port === 0) this.#port = bound;
    }
    await bootstrapObjects(this.#registry, this.#store, {
      serviceCidr: this.#options.serviceCidr,
      advertise: this.#advertised(),
    });
    this.#bootstrapped = true;
    this.#tasks.every("bookmarks", bookmarkEveryMs, () => {
      for (const { cache } of this.#registry.handles) cache.bookmark();
    });
    expireEvents(this.#tasks, this.#registry.handle("/events"), this.#store, this.#parts.clock ?? systemClock);
    this.#tasks.every("compaction", 5 * 60_000, () => this.#compact());
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { cache } of this.#registry.handles) cache.endWatches();
    await this.#server.stop(5_000);
    await this.#tasks.stop();
  }

  /** Follows the store, and reads what decisions depend on. */
  #open(): Promise<void> {
    return (this.#opening ??= (async () => {
      await this.#feed.start(this.#tasks);
      await this.#authorizer.ready();
      const services = this.#registry.handle("/services").cache;
      await services.ready();
      this.#services.load(services);
    })());
  }

  /** Forgets history that is older than two rounds: long enough for lists in pages. */
  async #compact(): Promise<void> {
    const { store } = this.#parts;
    const before = this.#compactNext;
    this.#compactNext = store.revision;
    if (before > store.compactedRevision) await store.compact(before);
  }
  #compactNext = 0;

  #advertised(): { address: string; port: number } {
    const { advertise, listen } = this.#options;
    return { address: advertise?.address ?? listen[0]?.host ?? "127.0.0.1", port: advertise?.port ?? this.#port };
  }

  #health(): { livez: HealthChecks; readyz: HealthChecks; healthz: HealthChecks } {
    const always: [string, HealthCheck] = ["ping", () => undefined];
    const log: [string, HealthCheck] = ["log", () => undefined];
    const store: [string, HealthCheck] = ["etcd", () => this.#feed.failure];
    const hook: [string, HealthCheck] = [
      "poststarthook/bootstrap-objects",
      () => (this.#bootstrapped ? undefined : "not finished"),
    ];
    const sync: [string, HealthCheck] = ["informer-sync", () => this.#feed.failure];
    const shutdown: [string, HealthCheck] = [
      "shutdown",
      () => (this.#stopping ? "process is shutting down" : undefined),
    ];
    return {
      livez: new HealthChecks("livez", new Map([always, log, store, hook])),
      readyz: new HealthChecks(
        "readyz",
        new Map([always, log, store, ["etcd-readiness", store[1]], sync, hook, shutdown]),
      ),
      healthz: new HealthChecks("healthz", new Map([always, log, store, hook])),
    };
  }

  #subresources(tokens: ServiceAccountTokens): Map<string, SubresourceHandler> {
    const registry = this.#registry;
    const { clock = systemClock } = this.#parts;
    const pods = registry.handle("/pods");
    return new Map<string, SubresourceHandler>([
      ["*/scale", scaleSubresource(this.#store)],
      [
        "/pods/binding",
        {
          create: ({ namespace, name }, body, context) =>
            bindPod(this.#store, pods, clock, namespace, name, body, context),
        },
      ],
      [
        "/pods/eviction",
        {
          create: ({ namespace, name }, body, context) =>
            evictPod(
              this.#store,
              { pods, budgets: registry.handle("policy/poddisruptionbudgets") },
              clock,
              namespace,
              name,
              body,
              context,
            ),
        },
      ],
      [
        "/serviceaccounts/token",
        {
          create: ({ namespace, name }, body, context) =>
            requestToken(
              this.#store,
              {
                serviceAccounts: registry.handle("/serviceaccounts"),
                pods,
                secrets: registry.handle("/secrets"),
                nodes: registry.handle("/nodes"),
              },
              tokens,
              namespace,
              name,
              body,
              context,
            ),
        },
      ],
    ]);
  }
}

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type KubeObject, ref } from "#api/kube/object.ts";
import type { PodRuntime } from "#api/pod-runtime.ts";
import { type Clock, systemClock } from "#base/clock.ts";
import { errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { EventRecorder } from "#control/event-recorder.ts";
import { Informer } from "#control/informer.ts";
import { hasAppArmor } from "#host/apparmor.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { HttpServer, type TlsOptions } from "#web/server.ts";
import { Backoff } from "./backoff.ts";
import { ImagePuller } from "./image-puller.ts";
import { LogLinks } from "./log-links.ts";
import { machineFacts } from "./node-facts.ts";
import { hostMounts } from "./node-mounts.ts";
import { NodeRegistration } from "./node-registration.ts";
import { PodManager } from "./pod-manager.ts";
import type { PodServices } from "./pod-services.ts";
import type { Pod, Service } from "./pod-types.ts";
import { RuntimeView } from "./runtime-view.ts";
import { parseResolvConf } from "./sandbox-config.ts";
import { rotateLog } from "./server/log-rotation.ts";
import { NodeServer } from "./server/node-server.ts";
import { StatusManager } from "./status-manager.ts";
import { type PodIdRange, PodUserNamespaces } from "./user-namespaces.ts";
import { ObjectTracker } from "./volumes/object-tracker.ts";
import { TokenSource } from "./volumes/token-source.ts";
import { type NodeMounts, type VolumePlugin, VolumeStore } from "./volumes/volume-store.ts";

export interface NodeAgentOptions {
  nodeName: string;
  /** The address at which the control plane reaches this node, and `status.hostIP` of its pods. */
  nodeIp: string;
  /** Data: `pods/<uid>`, `pod-logs`, `containers` (links to the logs), `seccomp` are made below it. */
  root: string;
  /** Where the node's HTTPS server listens; port 0 takes a free one. Default host: all addresses. */
  listen: { host?: string; port: number };
  /** The server's certificate; `clientCa` is the cluster's authority, which signs the API server's certificate. */
  tls: TlsOptions;
  /** Common names of client certificates that may use the server. Default: `kube-apiserver-kubelet-client`. */
  allowedUsers?: readonly string[];
  clusterDnsIp: string;
  clusterDomain: string;
  /** Set on the Node when it has none. */
  podCidr?: string;
  /** As `kubectl get nodes` shows it. Default `v1.36.0`. */
  kubeletVersion?: string;
  /** Added to the Node's labels. */
  labels?: Record<string, string>;
  /** Default 110. */
  maxPods?: number;
  /** Of pods with user namespaces of their own. Default: 256 ranges from 536870912 on. */
  podIds?: PodIdRange;
  /** Default /etc/resolv.conf. */
  resolvConf?: string;
}

export interface NodeAgentParts {
  client: KubeClient;
  runtime: PodRuntime;
  log: Logger;
  clock?: Clock;
  /** Default: the machine's, by system calls. */
  mounts?: NodeMounts;
  /** Volumes of further kinds: persistent volume claims, CSI, NFS. */
  volumePlugins?: readonly VolumePlugin[];
}

export interface NodeAgent {
  /** Listens, then starts the loops; resolves without waiting for the API server. */
  start(): Promise<void>;
  /** Stops the loops and the server. Pods keep running. */
  stop(): Promise<void>;
  /** The server's port, once started. */
  readonly port: number;
  /** Resolves when the Node object has the first status. */
  readonly registered: Promise<void>;
  /** The pods of this node as last seen. */
  pods(): Pod[];
}

/** Above what is usually given to users, below what systemd-nspawn's ranges end at. */
const defaultPodIds: PodIdRange = { first: 0x2000_0000, pods: 256 };

const logCheckMs = 10_000;

/** The node agent: runs the pods that are bound to its node, and reports on them (the kubelet's job). */
export function createNodeAgent(options: NodeAgentOptions, parts: NodeAgentParts): NodeAgent {
  const { client, runtime, log, clock = systemClock } = parts;
  const { nodeName, nodeIp, root } = options;
  const podsRoot = join(root, "pods");
  const logRoot = join(root, "pod-logs");
  for (const folder of [podsRoot, logRoot]) mkdirSync(folder, { recursive: true, mode: 0o750 });
  const machine = machineFacts(root);
  const tasks = new TaskGroup({ name: "node agent", log, clock });
  const recorder = new EventRecorder({ component: "kubelet", host: nodeName }, { client, clock, log });
  const view = new RuntimeView(runtime);
  const informerParts = { source: client, log, clock };
  const podInformer = new Informer<Pod>(
    { resource: ref("pods"), fieldSelector: `spec.nodeName=${nodeName}`, transform: withoutManagedFields },
    informerParts,
  );
  const serviceInformer = new Informer<Service>(
    { resource: ref("services"), transform: withoutManagedFields },
    informerParts,
  );
  const objects = new ObjectTracker(client, { log, clock, tasks }, (uid) => manager.sourcesChanged(uid));
  const services: PodServices = {
    runtime,
    view,
    volumes: new VolumeStore({ podsRoot }, parts.mounts ?? hostMounts, parts.volumePlugins),
    userNamespaces: new PodUserNamespaces(podsRoot, options.podIds ?? defaultPodIds),
    objects,
    tokens: new TokenSource(client, clock),
    images: new ImagePuller(runtime, clock),
    logLinks: new LogLinks(join(root, "containers")),
    statuses: new StatusManager(client, { log, clock, tasks }),
    recorder,
    crashes: new Backoff(clock),
    clock,
    log,
    tasks,
    services: (namespace) => serviceInformer.list(namespace),
    servicesSynced: serviceInformer.synced,
    sandbox: {
      nodeName,
      logRoot,
      clusterDnsIp: options.clusterDnsIp,
      clusterDomain: options.clusterDomain,
      hostDns: readHostDns(options.resolvConf ?? "/etc/resolv.conf"),
    },
    node: {
      nodeName,
      hostIp: nodeIp,
      allocatableCpu: machine.cpus,
      allocatableMemoryBytes: machine.memoryBytes,
      allocatableEphemeralStorageBytes: machine.ephemeralStorageBytes,
    },
    nodeMemoryBytes: machine.memoryBytes,
    admission: {
      cpus: machine.cpus,
      memoryBytes: machine.memoryBytes,
      maxPods: options.maxPods ?? 110,
      apparmor: hasAppArmor,
    },
    seccompRoot: join(root, "seccomp"),
  };
  const manager = new PodManager(services, podInformer);
  const nodeServer = new NodeServer({
    nodeName,
    runtime,
    view,
    pods: manager,
    clock,
    log,
    allowedUsers: options.allowedUsers ?? ["kube-apiserver-kubelet-client"],
  });
  const server = new HttpServer({ name: "node server", log, handler: nodeServer.handler, tls: options.tls });
  let port = 0;
  let resolveRegistered!: () => void;
  const registered = new Promise<void>((resolve) => (resolveRegistered = resolve));

  const tendLogs = async (): Promise<void> => {
    for (const container of await runtime.listContainers()) {
      if (container.state !== "running") continue;
      await rotateLog(runtime, container.id, container.logPath, clock.now()).catch((error: unknown) =>
        log.warn("A container's log could not be rotated.", { container: container.id, error: errorMessage(error) }),
      );
    }
    await services.logLinks.removeDead();
  };

  return {
    registered,
    get port() {
      return port;
    },
    pods: () => manager.pods(),
    async start() {
      port = await server.listen({ host: options.listen.host ?? "0.0.0.0", port: options.listen.port });
      const registration = new NodeRegistration(
        {
          nodeName,
          nodeIp,
          podCidr: options.podCidr,
          kubeletPort: port,
          kubeletVersion: options.kubeletVersion ?? "v1.36.0",
          maxPods: options.maxPods ?? 110,
          labels: options.labels ?? {},
          machine,
        },
        { client, runtime, recorder, clock, log },
      );
      recorder.start(tasks);
      registration.start(tasks, resolveRegistered);
      serviceInformer.start(tasks);
      await manager.start();
      tasks.every("log rotation", logCheckMs, tendLogs);
    },
    async stop() {
      await server.stop();
      await tasks.stop();
    },
  };
}

/** Nobody here reads who wrote which field, and it is half of a small object. */
function withoutManagedFields<T extends KubeObject>(object: T): T {
  return { ...object, metadata: { ...object.metadata, managedFields: undefined } };
}

function readHostDns(path: string): ReturnType<typeof parseResolvConf> {
  try {
    return parseResolvConf(readFileSync(path, "utf8"));
  } catch {
    return { servers: [], searches: [], options: [] };
  }
}

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base/clock.ts";
import type { Logger, LogLevel } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { ContainerRuntime } from "#container/container-runtime.ts";
import { InformerFactory } from "#control/informer-factory.ts";
import { CriServer } from "#cri/cri-server.ts";
import { createDockerApi } from "#docker/api.ts";
import { createEngine } from "#engine/create-engine.ts";
import { RegistryService } from "#engine/registry-service.ts";
import { ImageService } from "#image/image-service.ts";
import { type HttpKubeClient, createHttpClient } from "#kube/client/http-client.ts";
import { ClusterDns } from "#kube/dns/cluster-dns.ts";
import { createNodeAgent } from "#kube/node/node-agent.ts";
import { ServiceProxy } from "#kube/proxy/service-proxy.ts";
import { Networking } from "#network/networking.ts";
import { HttpServer } from "#web/server.ts";
import { advertisedAddress } from "./advertised-address.ts";
import { watchControl } from "./control-watch.ts";
import { remappedRoot } from "./remapped-root.ts";
import { networkingOf, registryConfigOf } from "./daemon-json-apply.ts";
import { LiveSettings } from "./daemon-json-live.ts";
import { claimDataRoot, foreignDataRoots } from "./data-root.ts";
import { serveDockerApi } from "./docker-listeners.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { criSocket, instancePaths, nodeAdminSocket } from "./instance-paths.ts";
import type { RunningDaemon } from "./main.ts";
import { settleNetworkChange } from "./network-changes.ts";
import { nodeAdminHandler } from "./node-admin.ts";
import { podIdRange, runtimeFolder, serviceTableName } from "./node-options.ts";
import { type CertificateName, type Pki, ensurePki } from "./pki.ts";
import { version } from "./version.ts";

/** A client of the API server as the holder of one of our certificates. */
function kubeClient(
  config: InstanceConfig,
  pki: Pki,
  name: CertificateName,
  userAgent: string,
): Promise<HttpKubeClient> {
  const { certPem, keyPem } = pki.pair(name);
  return createHttpClient({
    server: `https://127.0.0.1:${config.apiPort}`,
    ca: pki.caPem,
    cert: certPem,
    key: keyPem,
    userAgent,
  });
}

/** Wires the node process: engine, Docker API, node agent, service proxy, DNS. */
export async function startNode(
  config: InstanceConfig,
  log: Logger,
  setLogLevel: (level: LogLevel) => void,
): Promise<RunningDaemon> {
  const paths = instancePaths(config);
  const clock = systemClock;
  const tasks = new TaskGroup({ name: "node", log, clock });
  const settings = new LiveSettings(config, setLogLevel);
  const { started } = settings;
  for (const warning of started.warnings) log.warn("The configuration has a warning.", { warning });
  const { usernsRemap } = started;
  const remapped = usernsRemap === undefined ? undefined : await remappedRoot(usernsRemap, { make: true });
  for (const warning of remapped?.warnings ?? []) log.warn("The configuration has a warning.", { warning });
  const pki = await ensurePki(config);
  const dataRoot = claimDataRoot(config, started.dataRoot);
  for (const folder of [dataRoot, paths.kubelet, config.runDir]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  const networkOptions = networkingOf(config, started, join(dataRoot, "network"));
  mkdirSync(networkOptions.stateDir, { recursive: true, mode: 0o700 });
  await settleNetworkChange(config, networkOptions, log);

  const runtime = new ContainerRuntime(
    { runDir: runtimeFolder(config), sharedRoots: [config.root, ...foreignDataRoots(config), config.runDir] },
    { log: log.with({ part: "container" }) },
  );
  const images = new ImageService(join(dataRoot, "image"));
  const networking = new Networking(networkOptions, { log: log.with({ part: "network" }) });
  const registry = new RegistryService(registryConfigOf(started), images.images);
  await runtime.initialise();
  const engine = createEngine(
    {
      root: dataRoot,
      runDir: join(config.runDir, "engine"),
      cgroupParent: config.cgroupParent,
      nodeName: config.nodeName,
      version,
      defaults: settings.engineDefaults,
      ...(remapped?.mapping === undefined ? {} : { remap: remapped.mapping }),
    },
    { log: log.with({ part: "engine" }), clock, runtime, images, networking, registry },
  );
  await engine.start();

  const dockerServer = await serveDockerApi(config.dockerSocket, started, {
    log,
    handler: createDockerApi({ version }, { engine, log: log.with({ part: "docker" }) }),
  });
  const cri = new CriServer(
    { path: criSocket(config) },
    { runtime: engine.criPods, clock, log: log.with({ part: "cri" }) },
  );
  await cri.listen();

  const clients = await Promise.all([
    kubeClient(config, pki, "node", "gantry-node"),
    kubeClient(config, pki, "proxy", "gantry-proxy"),
    kubeClient(config, pki, "dns", "gantry-dns"),
  ]);
  const [nodeClient, proxyClient, dnsClient] = clients;
  const serving = pki.pair("kubelet");
  const agent = createNodeAgent(
    {
      nodeName: config.nodeName,
      nodeIp: advertisedAddress(),
      root: paths.kubelet,
      listen: { port: config.kubeletPort },
      tls: { cert: serving.certPem, key: serving.keyPem, clientCa: pki.caPem },
      clusterDnsIp: config.clusterDnsIp,
      clusterDomain: config.clusterDomain,
      podCidr: config.podCidr,
      podIds: podIdRange(config),
      kubeletVersion: `v1.36.0+gantry-${version}`,
    },
    { client: nodeClient, runtime: engine.pods, log: log.with({ part: "node-agent" }), clock },
  );
  await agent.start();
  const adminServer = new HttpServer({
    name: "node-admin",
    log,
    handler: nodeAdminHandler({ engine, agent, settings: () => settings.current }),
  });
  await adminServer.listen({ path: nodeAdminSocket(config), mode: 0o600 });

  tasks.run("watch of the control process", (signal) => watchControl(config, { log, clock }, signal));
  const serviceTasks = tasks.child("services");
  const proxyInformers = new InformerFactory({ source: proxyClient, log, clock });
  const proxy = new ServiceProxy(
    {
      table: serviceTableName(config),
      clusterCidrs: [config.podCidr],
      serviceCidrs: [config.serviceCidr],
      nodeName: config.nodeName,
    },
    { informers: proxyInformers, log: log.with({ part: "proxy" }), clock },
  );
  proxy.start(serviceTasks);
  proxyInformers.start(serviceTasks);
  const dnsInformers = new InformerFactory({ source: dnsClient, log, clock });
  const dns = new ClusterDns(
    { domain: config.clusterDomain, dnsIp: config.clusterDnsIp, ranges: [config.podCidr, config.serviceCidr] },
    { informers: dnsInformers, log: log.with({ part: "dns" }) },
  );
  await dns.start(serviceTasks);
  dnsInformers.start(serviceTasks);

  return {
    reload: () => settings.reload({ engine, registry, log }),
    stop: async () => {
      const { liveRestore, shutdownTimeout } = settings.current;
      if (!liveRestore) await engine.shutdownContainers(shutdownTimeout, { pods: false });
      await Promise.all([dockerServer.stop(2_000), adminServer.stop(1_000), cri.stop()]);
      await agent.stop();
      await tasks.stop();
      await engine.stop();
      runtime.stop();
      await registry.close();
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

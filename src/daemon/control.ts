import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { InformerFactory } from "#control/informer-factory.ts";
import { createApiServer } from "#kube/apiserver/create.ts";
import { startControllers } from "#kube/controllers/start-controllers.ts";
import { Scheduler } from "#kube/scheduler/scheduler.ts";
import { openSqliteStore } from "#store/sqlite.ts";
import { applyAddons } from "./addons.ts";
import { advertisedAddress } from "./advertised-address.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { instancePaths } from "./instance-paths.ts";
import type { RunningDaemon } from "./main.ts";
import { ensurePki } from "./pki.ts";
import { version } from "./version.ts";

/** Wires the control process: store, API server, controllers, scheduler. */
export async function startControl(config: InstanceConfig, log: Logger): Promise<RunningDaemon> {
  const paths = instancePaths(config);
  mkdirSync(paths.store, { recursive: true, mode: 0o700 });
  const clock = systemClock;
  const tasks = new TaskGroup({ name: "control", log, clock });
  const pki = await ensurePki(config);
  const store = openSqliteStore({
    path: join(paths.store, "state.db"),
    onFailure: (error) => {
      log.error("The control process ends, since its disk refuses what it writes. Make room, then run `gantry up`.", {
        error,
      });
      // A moment for the answers that say so.
      setTimeout(() => process.exit(1), 200);
    },
  });
  const serving = pki.pair("apiserver");
  const nodeClient = pki.pair("apiserver-kubelet-client");
  const server = createApiServer(
    {
      listen: [{ host: "0.0.0.0", port: config.apiPort }],
      advertise: { address: advertisedAddress(), port: config.apiPort },
      serviceCidr: config.serviceCidr,
      nodePortRange: config.nodePortRange,
      serviceAccountIssuer: `https://kubernetes.default.svc.${config.clusterDomain}`,
      gantryVersion: version,
    },
    {
      store,
      log: log.with({ part: "apiserver" }),
      clock,
      tls: { cert: serving.certPem, key: serving.keyPem, clientCa: pki.caPem },
      serviceAccountKeys: { privateKey: pki.tokenKey.privatePem, publicKeys: [pki.tokenKey.publicPem] },
      nodeClient: { cert: nodeClient.certPem, key: nodeClient.keyPem, ca: pki.caPem },
    },
  );
  await server.start();
  const client = server.client();
  const informers = new InformerFactory({ source: client, log: log.with({ part: "informers" }), clock });
  startControllers({ caPem: pki.caPem }, { client, informers, log: log.with({ part: "controllers" }), clock, tasks });
  new Scheduler({ client, informers, log: log.with({ part: "scheduler" }), clock, tasks }).start();
  informers.start(tasks);
  tasks.run("addons", (signal) => applyAddons(config, client, log, clock, signal));
  return {
    stop: async () => {
      await tasks.stop();
      await server.stop();
      await store.close();
    },
  };
}
